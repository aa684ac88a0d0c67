"""One process at a time works on what lies on the disk."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from pipeline.runtime.console import echo
from pipeline.runtime.errors import UserError

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY}
"""How network file systems without locks answer."""


class FileLock:
    """The file `lock`, which one process at a time holds, and which knows whether others wait for it.

    The lock is the kernel's: it ends with its process, however that ends. A process that waits shares a lock
    on a second file beside it, `waiting`.
    """

    def __init__(self, lock: Path) -> None:
        self._lock, self._waiters = lock, lock.with_name("waiting")
        self._held: TextIO | None = None
        self._waiting: TextIO | None = None
        self.holder = "unknown"
        """The id of the process that held it when `try_acquire` last failed."""

    def try_acquire(self) -> bool:
        """Whether this process holds it from now on. Raises `UserError` where no lock can be made."""
        make_state_folder(self._lock.parent)
        with ExitStack() as opened:
            file = opened.enter_context(open_lock(self._lock))
            if not try_lock(file):
                self.holder = file.read(20).strip() or self.holder
                return False
            if not _is_at(file, self._lock):
                # Its holder removed the folder before it let go, and another may have made a new one.
                return self.try_acquire()
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            self._held = file
            opened.pop_all()
        self._stop_waiting()
        return True

    def announce_waiting(self) -> bool:
        """Shows the holder that this process waits. Returns whether it is the first call."""
        is_first = self._waiting is None
        if self._waiting is None or not _is_at(self._waiting, self._waiters):
            self._stop_waiting()
            with suppress(FileNotFoundError):  # the holder has removed the folder
                self._waiting = open_lock(self._waiters)
                try_lock(self._waiting, fcntl.LOCK_SH)
        return is_first

    def has_waiters(self) -> bool:
        """Whether another process waits."""
        if not self._waiters.exists():
            return False
        with open_lock(self._waiters) as file:
            return not try_lock(file)

    def close(self) -> None:
        self._stop_waiting()
        if self._held is not None:
            self._held.close()

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None


@contextmanager
def exclusive_lock(lock: Path, doing: str) -> Iterator[None]:
    """Holds the file `lock`. Raises `UserError` that names the holder if another process does."""
    with closing(FileLock(lock)) as file_lock:
        if not file_lock.try_acquire():
            raise UserError(
                f"process {file_lock.holder} is {doing} already (state in {lock.parent}): "
                "wait for it, or end it"
            )
        yield


def make_state_folder(folder: Path) -> None:
    """With those above it. Raises `UserError` where none can be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError:
        # As below /proc.
        raise UserError(
            f"no folder can be made at {folder}: set CLINFONCE_STATE_DIR to another one"
        ) from None


def open_lock(lock: Path) -> TextIO:
    """Raises `UserError` where a link, pipe or device has its name.

    Symptom: an embedding beside a stranger's images leaves a file elsewhere with a number in place of its
    content. Cause: among the images lay a link, called as the lock. Cure: no link is followed to a lock.
    """

    def opener(path: str, flags: int) -> int:
        try:
            descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise no_lock from None
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise no_lock
        return descriptor

    no_lock = UserError(f"{lock} is a link, pipe or device, where a lock should be: remove it")
    return open(lock, "r+", encoding="utf-8", opener=opener)


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def try_lock(file: TextIO, how: int = fcntl.LOCK_EX) -> bool:
    """Locks `file` until it is closed; False where another process has locked it.

    Where the file system has no locks, a line says that nobody is kept away, and the work continues: a lock
    file of our own would stay behind a process that was killed on another machine.
    """
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        folder = Path(file.name).parent
        echo(
            f"warning: the file system of {folder} has no locks ({os.strerror(error.errno)}): run no second "
            "command of this kind there, or set CLINFONCE_STATE_DIR to a local disk",
            stderr=True,
        )
    return True
