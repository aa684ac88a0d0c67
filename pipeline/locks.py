"""One process at a time works on what lies on the disk."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import UserError


@contextmanager
def held_alone(lock: Path, doing: str) -> Iterator[None]:
    """Holds the file `lock`. Raises `UserError` that names the holder if another process does.

    The lock is the kernel's: it ends with its process, however that ends.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"process {file.read().strip() or 'unknown'} is {doing} already (state in "
                f"{lock.parent}): wait for it, or end it"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
