"""One process at a time works on what lies on the disk."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from pipeline.console import say
from pipeline.errors import UserError

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY}
"""How network file systems without locks answer."""


@contextmanager
def held_alone(lock: Path, doing: str) -> Iterator[None]:
    """Holds the file `lock`. Raises `UserError` that names the holder if another process does.

    The lock is the kernel's: it ends with its process, however that ends.
    """
    make_state_folder(lock.parent)
    with open_lock(lock) as file:
        if not try_lock(file):
            file.seek(0)
            raise UserError(
                f"process {file.read(20).strip() or 'unknown'} is {doing} already (state in "
                f"{lock.parent}): wait for it, or end it"
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
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


def try_lock(file: TextIO) -> bool:
    """Locks `file` until it is closed; False where another process has locked it.

    Where the file system has no locks, a line says that nobody is kept away, and the work goes on: a lock
    file of our own would stay behind a process that was killed on another machine.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        folder = Path(file.name).parent
        say(
            f"warning: the file system of {folder} has no locks ({os.strerror(error.errno)}): run no second "
            "command of this kind there, or set CLINFONCE_STATE_DIR to a local disk",
            stderr=True,
        )
    return True
