"""Running DVC on a repository in a separate process with limits, which returns what it found as JSON.

reading(...)    in the calling process: starts the other, yields its answer
answer(...)     in the reading process: the last line of a module that imports DVC
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import UserError, system_error_message
from pipeline.runtime.json_text import NotJson, parse_json
from pipeline.runtime.parent import end_with
from pipeline.untrusted.dvc.confinement import Confinement, Limits, limit, wait_for_ever
from pipeline.untrusted.dvc.environment import SENDS_NOTHING
from pipeline.untrusted.git import git_environment

CPU_SECONDS = 120
CPU_SECONDS_PER_EXPERIMENT = 2
"""Additional CPU time per experiment; DVC takes a tenth to read one."""
WALL_SECONDS = 900
MEMORY_BYTES = 2 << 30
"""Memory limit; DVC takes a tenth."""
MOST_ANSWER_BYTES = 32 << 20
"""Maximum size of an answer; the row of an experiment has a few thousand bytes."""
ENDING_SECONDS = 5
STDOUT, STDERR = 1, 2
Request = dict[str, Any]


@contextmanager
def reading(module: str, request: Request, what: str, experiments: int = 0) -> Iterator[Any]:
    """Yields what the function that `module` passes to `answer` yields for `request`; both have JSON types.

    During the block, that process waits in its own block and keeps its locks. `what` names the files in error
    messages. Raises `UserError` for a user's mistake and if a limit ends the process, and `RuntimeError`
    with the traceback for any other exception of that function.
    """
    limits = Limits(CPU_SECONDS + CPU_SECONDS_PER_EXPERIMENT * experiments, WALL_SECONDS, MEMORY_BYTES)
    with tempfile.TemporaryDirectory(prefix="clinfonce-dvc-") as scratch, _reader(module, scratch) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        with suppress(BrokenPipeError):  # the exit status says more
            whole = {"request": request, "limits": asdict(limits), "parent": os.getpid()}
            reader.stdin.write(json.dumps(whole).encode() + b"\n")
            reader.stdin.flush()
        line = reader.stdout.readline(MOST_ANSWER_BYTES)
        if not line.endswith(b"\n"):
            raise UserError(_why(what, limits, None if line else reader.wait()))
        yield _value(line)


@contextmanager
def _reader(module: str, scratch: str) -> Iterator[subprocess.Popen[bytes]]:
    # -P: import the running package, not a folder of the same name in the working directory.
    command = [sys.executable, "-P", "-m", module]
    # DVC's site cache is a database that it unpickles, in a folder that .dvc/config may choose.
    own = {"TMPDIR": scratch, "DVC_SITE_CACHE_DIR": scratch, "PYTHONDONTWRITEBYTECODE": "1"}
    environment = git_environment() | SENDS_NOTHING | own
    with subprocess.Popen(  # noqa: S603 - ours
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as reader:
        assert reader.stdin is not None
        try:
            yield reader
        finally:
            with suppress(BrokenPipeError, subprocess.TimeoutExpired):
                reader.stdin.close()  # the reader then releases its locks
                reader.wait(ENDING_SECONDS)
            reader.kill()


def _why(what: str, limits: Limits, ended: int | None) -> str:
    how = {
        None: f"takes more than {MOST_ANSWER_BYTES >> 20} MiB to hold",
        -signal.SIGXCPU: f"takes DVC more than {limits.cpu_seconds} s of a core to read",
        -signal.SIGALRM: f"was not read by DVC within {limits.wall_seconds} s",
    }.get(ended, f"ends the process in which DVC reads it ({ended})")
    return (
        f"{what} {how}: a file there is made to do harm, damaged or far too large, such as one that "
        "dvc.yaml names; look at them before DVC does"
    )


def _value(line: bytes) -> Any:
    try:
        found = parse_json(line)
    except NotJson as error:
        raise UserError(f"what DVC found can't be read: {error}") from None
    if "mistake" in found:
        raise UserError(found["mistake"])
    if "fault" in found:
        raise RuntimeError(found["fault"])
    return found["value"]


# --- the process that reads ---------------------------------------------------------------------------------


def answer(read: Callable[[Request], AbstractContextManager[Any]]) -> None:
    """Answers one request, and returns when the calling process has finished with it or has died."""
    # Output of libraries, which may contain untrusted text, is discarded.
    reply = os.fdopen(os.dup(STDOUT), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT)
    os.dup2(nowhere, STDERR)
    order = json.loads(sys.stdin.buffer.readline())
    end_with(order["parent"], signal.SIGKILL)
    # The calling process handles Ctrl+C, and ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit(Limits(**order["limits"]))
    confinement = Confinement([os.path.join(_root(), ".dvc"), os.path.realpath(tempfile.gettempdir())])
    confinement.enter()

    def send(found: dict[str, Any]) -> None:
        reply.write(json.dumps(found).encode() + b"\n")
        reply.close()

    try:
        with read(order["request"]) as value:
            send({"mistake": confinement.refused[0]} if confinement.refused else {"value": value})
            wait_for_ever()
            sys.stdin.buffer.read()
    except BaseException as error:
        if not reply.closed:
            send({"mistake": confinement.refused[0]} if confinement.refused else _problem(error))


def _root() -> str:
    """Returns the folder of the repository as DVC finds it, without links."""
    here = Path.cwd()
    return str(next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here))


def _problem(error: BaseException) -> dict[str, Any]:
    if isinstance(error, MemoryError):
        return {"mistake": f"DVC needs more than {MEMORY_BYTES >> 20} MiB to read these files"}
    if isinstance(error, UserError):
        return {"mistake": str(error)}
    if (sentence := system_error_message(error)) is not None:
        return {"mistake": sentence}
    return {"fault": "".join(traceback.format_exception(error))}
