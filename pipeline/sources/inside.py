"""Paths that data name stay inside of the source's folder, unless `ingest.outside_paths` lets them out."""

import os
import stat
from pathlib import Path, PurePath

from pipeline.ingest.params import IngestParams

ALLOWED_BY = "which ingest.outside_paths=true would allow"


class Outside(ValueError):
    """A path that is not followed; the message is the reason."""


class Root:
    """The folder of a source, and who may be reached from it.

    A table that someone else wrote could name `/etc/passwd` or `../../private/a.jpg`, and an archive that
    someone else packed could bring a link to it.
    """

    def __init__(self, folder: Path, params: IngestParams) -> None:
        self.folder = folder
        self._real = os.path.realpath(folder)
        self._lets_out = params.outside_paths

    def file(self, member: str) -> Path:
        """The file `member` below the folder, which need not exist.

        Raises `Outside` for an absolute path, one with `..` and one through a link that leads out, unless
        `ingest.outside_paths` allows them; and for what can't be read as a file, such as a pipe.
        """
        if "\0" in member:
            raise Outside("the path holds a null byte")
        if not _is_a_name(member):
            raise Outside("the path is not UTF-8 text")
        path = self.folder / member
        if not self._lets_out:
            if PurePath(member).is_absolute():
                raise Outside(f"the path is absolute, {ALLOWED_BY}")
            if ".." in PurePath(member).parts:
                raise Outside(f"the path holds .., {ALLOWED_BY}")
            if not Path(os.path.realpath(path)).is_relative_to(self._real):
                raise Outside(f"a link leads out of the source's folder, {ALLOWED_BY}")
        if _is_special(path):
            raise Outside("a pipe, socket or device, not a file")
        return path


def _is_a_name(member: str) -> bool:
    """False for half a character, which JSON can escape and no file's name can hold."""
    try:
        os.fsencode(member)
    except UnicodeEncodeError:
        return False
    return True


def _is_special(path: Path) -> bool:
    """Reading a pipe would wait for ever. Ingest finds the words for what does not exist."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
