"""Reads the outputs of stages from DVC, in a separate process: `python -m pipeline.doctor.dvc_outputs`."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from dvc.exceptions import NotDvcRepoError
from dvc.lock import LockError
from dvc.repo import Repo

from pipeline.runtime.errors import UserError, first_line, shown, system_error_message
from pipeline.untrusted.dvc.process import Request, answer


@contextmanager
def outputs(request: Request) -> Iterator[dict[str, Any]]:
    """Yields the outputs of all stages in the repository, with DVC's record of them.

    No DVC command changes them meanwhile. Raises `UserError` if DVC can't read its files.
    """
    with ExitStack() as held:
        try:
            repo = held.enter_context(Repo())
            held.enter_context(repo.lock)
            found = [_record(output) for output in repo.index.outs if output.is_in_repo]
            cache = repo.cache.repo.path
        except Exception as error:
            # For files that it did not write, DVC raises whatever their parsers raise.
            if isinstance(error, OSError | MemoryError) and system_error_message(error):
                raise
            raise UserError(f"{request['path']} cannot be repaired here {_why(error)}") from None
        yield {"cache": cache, "outputs": found}


def _why(error: Exception) -> str:
    """Returns why DVC does not list the outputs, and the cure, as the end of a sentence."""
    if isinstance(error, LockError):
        return _why_locked(error)
    cure = "run it where dvc.yaml lies"
    if not isinstance(error, NotDvcRepoError):
        cure += ", and run `dvc status`, which must list what changed"
    return f"({shown(first_line(error))}): {cure}"


def _why_locked(error: LockError) -> str:
    # DVC says the same of every lock that it does not get; what its library caught has the reason.
    refusal = error.__context__ and error.__context__.__context__
    if isinstance(refusal, BlockingIOError):
        return "while another command of DVC runs: wait for it, or end it"
    if not isinstance(refusal, OSError):
        # Links are no locks of the kernel, which releases those of a process that was killed.
        return "while another command of DVC runs: wait for it, or remove .dvc/tmp/lock if none does"
    why = os.strerror(refusal.errno or 0)
    return (
        f"(the file system of .dvc/tmp has no locks: {why}): remove .dvc/tmp/lock, and run "
        "`dvc config --local core.hardlink_lock true`, after which DVC locks by links"
    )


def _record(output: Any) -> dict[str, Any]:
    return {
        "place": output.fs_path,
        "in_cache": output.use_cache,
        "hash_name": output.hash_info.name,
        "hash": output.hash_info.value,
    }


if __name__ == "__main__":
    answer(outputs)
