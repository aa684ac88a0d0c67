"""Reads the outputs of stages from DVC, in a separate process: `python -m pipeline.doctor.dvc_outputs`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

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
            raise UserError(
                f"{request['path']} cannot be repaired here ({shown(first_line(error))}): run it where "
                "dvc.yaml lies"
            ) from None
        yield {"cache": cache, "outputs": found}


def _record(output: Any) -> dict[str, Any]:
    return {
        "place": output.fs_path,
        "in_cache": output.use_cache,
        "hash_name": output.hash_info.name,
        "hash": output.hash_info.value,
    }


if __name__ == "__main__":
    answer(outputs)
