"""A worker process, as seen from the calling process."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from pipeline.runtime.errors import UserError
from pipeline.untrusted.isolation import limits, server

SERVE = f"""
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from {server.__name__} import main
main(int(sys.argv[2]))
"""
ENVIRONMENT = {
    # A process with threads can't be forked safely, and these would be started by imports.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    # Arrow's own allocators reserve a gibibyte at once, which counts as if it were in use.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "ARROW_IO_THREADS": "1",
}
ENDING_SECONDS = 10


@dataclass
class WorkerDied(UserError):
    """Raised when the process ended instead of answering. The user sees its message if the pool gives up."""

    number: int | None
    """Number of the image that it was decoding; None if there was none."""
    exit: int
    """Exit status; the negative number of the signal that ended it."""

    def __str__(self) -> str:
        return (
            "the process that decodes images was killed several times, by none of them but for lack of "
            "memory perhaps: look why, and type the same command again"
        )

    @property
    def reason(self) -> str:
        return limits.reason(-self.exit)

    @property
    def is_certain(self) -> bool:
        """Whether the image is certain to end the next process, too: another program may have sent any other
        signal, and wall time passes while the machine is suspended."""
        return self.exit == -signal.SIGPROF


class Worker:
    """One process. It answers one call at a time, from one thread at a time."""

    def __init__(self, module: str) -> None:
        """`module` contains the functions that it will call, and is imported before the fork.

        Raises `UserError` if no process can be started.
        """
        ours, theirs = socket.socketpair()
        self._line, far_end = socket.socketpair()
        self._connection = Connection(ours.detach())
        with theirs, far_end:
            try:
                _server().fork(module, theirs, far_end)
            except BaseException:
                self.close()
                raise

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls the function in the worker. Raises `WorkerDied`, and what the function raised."""
        try:
            self._connection.send((os.getcwd(), function, arguments))
            done, value = self._connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise self._death() from None
        if not done:
            raise value
        return value

    def _death(self) -> WorkerDied:
        answer = b"".join(iter(lambda: self._line.recv(4096), b""))
        if not answer:
            return WorkerDied(None, -signal.SIGKILL)  # the server was killed, and its workers with it
        how = json.loads(answer)
        return WorkerDied(None if how["number"] == limits.NOWHERE else how["number"], how["exit"])

    def kill(self) -> None:
        """Kills the worker, whatever it is doing. Any thread may call this: one that waits for an answer gets
        `WorkerDied`."""
        with suppress(OSError):  # it has ended
            self._line.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._connection.close()
        self._line.close()


# --- the server ---------------------------------------------------------------------------------------------


class _Server:
    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        self._lock = threading.Lock()
        self.owner = os.getpid()
        path = [folder or os.getcwd() for folder in sys.path]
        command = [sys.executable, "-P", "-c", SERVE, json.dumps(path), str(theirs.fileno())]
        # Ctrl+C while it starts would make it print a traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - ours
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=os.environ | ENVIRONMENT,
                    pass_fds=[theirs.fileno()],
                )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def fork(self, module: str, calls: socket.socket, line: socket.socket) -> None:
        request = json.dumps([] if module == "__main__" else [module]).encode() + b"\n"
        with self._lock:
            try:
                socket.send_fds(self._control, [request], [calls.fileno(), line.fileno()])
                answer = self._control.recv(4096)
            except (BrokenPipeError, ConnectionResetError):
                answer = b""
        if answer != b"\n":
            why = answer.decode().strip() or "why stands above"
            raise UserError(
                f"no process can be started to decode images in ({why}): end other programs, or raise the "
                "limits of processes and memory (ulimit -u, -v)"
            )

    def runs(self) -> bool:
        return self.owner == os.getpid() and self._process.poll() is None

    def close(self) -> None:
        if self.owner != os.getpid():
            return
        self._control.close()
        try:
            self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


_lock = threading.Lock()
_started: _Server | None = None


def _server() -> _Server:
    """Returns the server of this process, which ends with it. A fork of this process has a server of its
    own."""
    global _started
    with _lock:
        if _started is None or not _started.runs():
            if _started is not None:
                _started.close()
            _started = _Server()
            atexit.register(_started.close)
        return _started
