"""File locks, by which one process at a time works on the same files."""

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
"""Error codes of network file systems without locks."""


class FileLock:
    """A lock on the file `lock`, which one process at a time holds; it shows whether others wait for it.

    The kernel releases the lock when its process ends, however that ends. Processes that wait hold a shared
    lock on a second file beside it, `waiting`.
    """

    def __init__(self, lock: Path) -> None:
        self._lock, self._waiters = lock, lock.with_name("waiting")
        self._held: TextIO | None = None
        self._waiting: TextIO | None = None
        self.holder = "unknown"
        """Id of the process that held the lock when `try_acquire` last failed."""

    def try_acquire(self) -> bool:
        """Acquires the lock if it is free, and returns whether it was. Raises `UserError` if the lock file
        cannot be created."""
        make_state_folder(self._lock.parent)
        with ExitStack() as opened:
            file = opened.enter_context(open_lock(self._lock))
            if not try_lock(file):
                self.holder = file.read(20).strip() or self.holder
                return False
            if not _is_at(file, self._lock):
                # The holder removed the folder before the release, and another may have created a new one.
                return self.try_acquire()
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            self._held = file
            opened.pop_all()
        self._stop_waiting()
        return True

    def announce_waiting(self) -> bool:
        """Shows the holder that this process waits. Returns whether this is the first call."""
        is_first = self._waiting is None
        if self._waiting is None or not _is_at(self._waiting, self._waiters):
            self._stop_waiting()
            with suppress(FileNotFoundError):  # the holder has removed the folder
                self._waiting = open_lock(self._waiters)
                try_lock(self._waiting, fcntl.LOCK_SH)
        return is_first

    def has_waiters(self) -> bool:
        """Returns whether another process waits."""
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
    """Locks the file `lock` during the block. If another process holds it, raises a `UserError` that names
    that process."""
    with closing(FileLock(lock)) as file_lock:
        if not file_lock.try_acquire():
            raise UserError(
                f"process {file_lock.holder} is {doing} already (state in {lock.parent}): "
                "wait for it, or end it"
            )
        yield


def make_state_folder(folder: Path) -> None:
    """Creates the folder and its parents. Raises `UserError` if that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError:
        # As below /proc.
        raise UserError(
            f"no folder can be made at {folder}: set CLINFONCE_STATE_DIR to another one"
        ) from None


def open_lock(lock: Path) -> TextIO:
    """Opens a lock file. Raises `UserError` if it is a link, pipe or device.

    Symptom: an embedding beside untrusted images replaces the content of a file elsewhere by a number.
    Cause: among the images was a link with the name of the lock. Cure: links are not followed.
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
    """Locks `file` until it is closed; returns False if another process has locked it.

    If the file system has no locks, prints a warning and returns True: a lock file of our own would remain
    after a process that was killed on another machine.
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
