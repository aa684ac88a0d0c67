"""Removal of files that were inspected earlier, if they are still the same.

Symptom: while `clinfonce repair` waited for an answer, another clone created a file in the shared cache
again, and it was removed. Cause: a decision about a path's content was applied to whatever had the path
later. Cure: the content is compared once more, immediately before the removal, in a folder that is kept open
and was reached without links.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_NO_FOLDER_OR_FILE = {errno.ENOTDIR, errno.ELOOP, errno.EISDIR}
_AS_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY
"""Flags to open a folder on the path, which need not be readable."""


@dataclass(frozen=True)
class FoundFile:
    """A file as it was when it was inspected."""

    path: Path
    """Path without links, except for its last part."""
    md5: str | None

    @classmethod
    def at(cls, path: Path) -> "FoundFile":
        return cls(path, _md5(path))

    @classmethod
    def existing(cls, path: Path) -> "FoundFile | None":
        """Returns what is at `path`, even if it is no regular file; None if there is nothing."""
        return cls.at(path) if os.path.lexists(path) else None

    def remove(self) -> bool:
        """Removes the file and returns whether it is gone.

        A file that has changed since stays, as does everything in a folder that is now a link.
        """
        try:
            with _folder(self.path.parent) as folder:
                if _md5(self.path.name, folder) != self.md5:
                    return False
                os.unlink(self.path.name, dir_fd=folder)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in _NO_FOLDER_OR_FILE:
                return False
            raise
        return True


def _md5(path: Path | str, folder: int | None = None) -> str | None:
    """Returns the MD5 by which DVC names files; None if this is not a regular file.

    A relative path starts from the folder of this descriptor.
    """
    try:
        if not stat.S_ISREG(os.stat(path, dir_fd=folder).st_mode):
            return None
        # A pipe that has replaced the file and has no writer would block an ordinary open forever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0), dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.ELOOP):
            return None
        raise
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return hashlib.file_digest(file, new_md5).hexdigest()


def new_md5(content: bytes = b"") -> "hashlib._Hash":
    return hashlib.md5(content, usedforsecurity=False)


def short(path: Path) -> Path:
    """Returns the path relative to the current folder if it lies in it, for messages."""
    return Path(os.path.relpath(path)) if path.is_relative_to(Path.cwd()) else path


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    """Yields a descriptor of the folder at this absolute path, no part of which may be a link."""
    descriptor = os.open(path.anchor, _AS_FOLDER)
    try:
        for part in path.parts[1:]:
            below = os.open(part, _AS_FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)
