"""Paths that data name stay inside of the source's folder, unless `ingest.outside_paths` lets them out."""

import os
import stat
from functools import lru_cache
from pathlib import Path

from pipeline.ingest.params import IngestParams

ALLOWED_BY = "which ingest.outside_paths=true would allow"
FOLDERS_REMEMBERED = 65_536


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
        # Most files lie beside others: where links of their folder lead is looked up once.
        self._real_folder = lru_cache(FOLDERS_REMEMBERED)(os.path.realpath)

    def file(self, member: str) -> Path:
        """The file `member` below the folder, which need not exist.

        Raises `Outside` for an absolute path, one with `..` and one through a link that leads out, unless
        `ingest.outside_paths` allows them; and for what can't be read as a file, such as a pipe.
        """
        if "\0" in member:
            raise Outside("the path holds a null byte")
        if not _is_a_name(member):
            raise Outside("the path is not UTF-8 text")
        # Before anything is looked at: to look at a path may mount what it names.
        if not self._lets_out and os.path.isabs(member):
            raise Outside(f"the path is absolute, {ALLOWED_BY}")
        if not self._lets_out and ".." in member.split(os.sep):
            raise Outside(f"the path holds .., {ALLOWED_BY}")
        path = self.folder / member
        mode = _mode(path)
        if not self._lets_out and not self._holds(path, is_link=stat.S_ISLNK(mode)):
            raise Outside(f"a link leads out of the source's folder, {ALLOWED_BY}")
        if stat.S_ISLNK(mode):
            mode = _mode(path, follow=True)
        # Reading a pipe would wait for ever. Ingest finds the words for what does not exist.
        if mode and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise Outside("a pipe, socket or device, not a file")
        return path

    def _holds(self, path: Path, *, is_link: bool) -> bool:
        if is_link:
            real = os.path.realpath(path)
        else:
            folder, name = os.path.split(path)
            real = os.path.join(self._real_folder(folder), name)
        return real == self._real or real.startswith(os.path.join(self._real, ""))


def _is_a_name(member: str) -> bool:
    """False for half a character, which JSON can escape and no file's name can hold."""
    try:
        os.fsencode(member)
    except UnicodeEncodeError:
        return False
    return True


def _mode(path: Path, *, follow: bool = False) -> int:
    """The kind of file; 0 where there is none."""
    try:
        return os.stat(path, follow_symlinks=follow).st_mode
    except OSError:
        return 0
