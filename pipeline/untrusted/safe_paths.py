"""The only way to open files that are untrusted, or named by untrusted data.

A third-party data set may contain a link to `/etc/passwd`, a table that names `../../private/a.jpg`, or a
pipe called `classes.txt` on which an ordinary `open` waits forever. This module opens only regular files in
the folder that they must not leave. Both are checked on the descriptor, so that replacing a file between a
check and its opening has no effect. tests/untrusted/test_one_way_to_open.py looks for other ways.

    SafePath      a file, and the folder that it must lie in; can be sent to other processes and opened there
    Root          a folder; turns the names in its tables into `SafePath`s
    UnsafePath    why a path is not read; of `unsafe_path`
"""

import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TextIO

from pipeline.runtime.errors import shown
from pipeline.untrusted.unsafe_path import (
    FOLDER,
    LEADS_OUT,
    NO_FOLDER,
    SPECIAL,
    UNREADABLE,
    UnsafePath,
    reason_of,
)

DVC_OBJECT = re.compile(r".*/files/md5/[0-9a-f]{2}/[0-9a-f]{30}", re.DOTALL)
"""Real path of a file in a cache of DVC, which is named by the MD5 of its content."""
FOLDERS_REMEMBERED = 65_536
LONGEST_PATH = 4096
"""Maximum length of a path, as on Linux."""
DEEPEST = 100
"""Maximum number of folders below a root, since each is looked up by itself to follow links."""
TOO_LONG = "the path is too long"
TOO_DEEP = f"more than {DEEPEST} folders deep"
# An ordinary open blocks on a pipe without a writer, and may make a terminal the controlling one.
_WITHOUT_WAITING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_DESCRIPTORS = "/proc/self/fd"
"""Folder in which Linux has a link to the open file of each descriptor."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """The folder that no path may leave."""

    folder: str
    """Its real path, without links."""
    allowed_by: str
    """The end of a sentence: which option removes the boundary."""
    with_dvc_objects: bool = False
    """Whether the objects of DVC's caches count as inside, wherever a cache lies. A link reaches none of
    which its author does not know the MD5 of the content."""

    @classmethod
    def around(cls, folder: Path, allowed_by: str, *, with_dvc_objects: bool = False) -> "Boundary":
        return cls(os.path.realpath(folder), allowed_by, with_dvc_objects)

    def holds(self, real: str) -> bool:
        if real == self.folder or real.startswith(self.folder.rstrip(os.sep) + os.sep):
            return True
        return self.with_dvc_objects and DVC_OBJECT.fullmatch(real) is not None

    def refusal(self, what: str) -> str:
        return f"{what}, {self.allowed_by}"


@dataclass(frozen=True, slots=True)
class SafePath:
    """A file that is opened only if it is a regular file and lies `within` the boundary.

    Without a boundary, such as for a path that the user typed, it may lie anywhere and be a link.
    """

    path: Path
    within: Boundary | None = None

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    def open_binary(self) -> BinaryIO:
        """Opens the file for reading. Raises `UnsafePath`, and `OSError` for a fault of the machine."""
        descriptor, _ = _opened(self.path, self.within, stat.S_ISREG)
        return os.fdopen(descriptor, "rb")

    def open_text(self, *, newline: str | None = None, errors: str = "strict") -> TextIO:
        """Opens the file as UTF-8, with or without a byte order mark; otherwise like `open_binary`."""
        return io.TextIOWrapper(self.open_binary(), encoding="utf-8-sig", errors=errors, newline=newline)

    def read_whole(self, most: int) -> bytes | None:
        """Returns the whole file, or None if it has more than `most` bytes; otherwise like `open_binary`.

        If the file grows meanwhile, returns the content that it had when it was opened.
        """
        descriptor, status = _opened(self.path, self.within, stat.S_ISREG)
        try:
            size = status.st_size
            if size > most:
                return None
            data = os.read(descriptor, size)
            while len(data) < size and (more := os.read(descriptor, size - len(data))):
                data += more
            return data
        finally:
            os.close(descriptor)

    @contextmanager
    def pinned(self) -> Iterator[Path]:
        """Yields a path of the opened file, for libraries that open by path: even if the name is replaced
        meanwhile, they read the file that was checked. Otherwise like `open_binary`."""
        descriptor, _ = _opened(self.path, self.within, stat.S_ISREG)
        try:
            by_descriptor = f"{_DESCRIPTORS}/{descriptor}"
            yield Path(by_descriptor) if os.path.exists(by_descriptor) else self.path
        except Exception as error:
            # The library's message must name the file as the user does.
            error.args = tuple(
                arg.replace(by_descriptor, str(self.path)) if isinstance(arg, str) else arg
                for arg in error.args
            )
            raise
        finally:
            os.close(descriptor)

    def is_there(self) -> bool:
        """Returns whether something has this name, even if only a broken link."""
        return os.path.lexists(self.path)

    def is_folder(self) -> bool:
        """Returns whether it is a folder, or a link to one; only opening it checks where the link leads."""
        return os.path.isdir(self.path)

    def status(self) -> os.stat_result | None:
        """Returns the size and times, by which changes are detected; None if they can't be read."""
        return _status(self.path, follow=True)

    @contextmanager
    def opened_folder(self) -> Iterator[int]:
        """Yields a descriptor of the folder at this path, which must be one; otherwise like `open_binary`."""
        descriptor, _ = _opened(self.path, self.within, stat.S_ISDIR)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


class Root:
    """A folder with untrusted file names, and the boundary of what may be reached from it."""

    def __init__(self, folder: Path, within: Boundary | None) -> None:
        self.folder = folder
        self.within = within
        # Most files share a folder, whose links are resolved once.
        self._real_folder = lru_cache(FOLDERS_REMEMBERED)(os.path.realpath)

    def at(self, member: str) -> SafePath:
        """Returns the path of `member` unchecked: opening it checks it."""
        return SafePath(self.folder / member, self.within)

    def below(self, member: str) -> "Root":
        """Returns the folder `member` of this one, with the same boundary."""
        return Root(self.folder / member, self.within)

    def bounded(self, member: str) -> "Root":
        """Returns the folder `member` of this one, with itself as the boundary. Raises `UnsafePath` if it
        lies outside of this one's boundary."""
        self._check_name(member)
        folder = self.folder / member
        if self.within is None:
            return Root(folder, None)
        boundary = Boundary.around(folder, self.within.allowed_by)
        if not self.within.holds(boundary.folder):
            raise UnsafePath(folder, self.within.refusal(LEADS_OUT))
        return Root(folder, boundary)

    def has(self, member: str) -> bool:
        return self.at(member).is_there()

    def has_folder(self, member: str) -> bool:
        """Returns whether it is a folder, or a link to one."""
        return self.at(member).is_folder()

    def file(self, member: str) -> SafePath:
        """Returns the file `member`, as named by a table. It need not exist: opening it reports that.

        Raises `UnsafePath` for an absolute path, one with `..` and one through a link that leads out, unless
        there is no boundary; and for what can't be read as a file, such as a pipe.
        """
        self._check_name(member)
        path = self.folder / member
        status = _status(path)
        is_link = status is not None and stat.S_ISLNK(status.st_mode)
        if self.within is not None and not self.within.holds(self._real(path, is_link=is_link)):
            raise UnsafePath(path, self.within.refusal(LEADS_OUT))
        if is_link:
            status = _status(path, follow=True)
        if status is not None and not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise UnsafePath(path, SPECIAL)
        return SafePath(path, self.within)

    def _check_name(self, member: str) -> None:
        """Checks a name before any access to the file system, which may mount what the path names."""
        if len(member) > LONGEST_PATH:
            raise UnsafePath(shown(member), TOO_LONG)
        if member.count(os.sep) > DEEPEST:
            raise UnsafePath(shown(member), TOO_DEEP)
        if "\0" in member:
            raise UnsafePath(repr(member), "the path holds a null byte")
        try:
            os.fsencode(member)
        except UnicodeEncodeError:
            # A lone surrogate, which JSON can escape, but no file name can contain.
            raise UnsafePath(repr(member), "the path is not UTF-8 text") from None
        if self.within is None:
            return
        if os.path.isabs(member):
            raise UnsafePath(member, self.within.refusal("the path is absolute"))
        if ".." in member.split(os.sep):
            raise UnsafePath(member, self.within.refusal("the path holds .."))

    def _real(self, path: Path, *, is_link: bool) -> str:
        if is_link:
            return os.path.realpath(path)
        folder, name = os.path.split(path)
        return os.path.join(self._real_folder(folder), name)


def _status(path: Path, *, follow: bool = False) -> os.stat_result | None:
    try:
        return os.stat(path, follow_symlinks=follow)
    except (OSError, ValueError):
        return None


# --- opening ------------------------------------------------------------------------------------------------


def _opened(
    path: Path, within: Boundary | None, has_kind: Callable[[int], bool]
) -> tuple[int, os.stat_result]:
    """Returns a descriptor of a file whose mode satisfies `has_kind`, and its status."""
    try:
        # Checked first, although the descriptor decides: opening a device can have side effects, and
        # following a link may mount what it names.
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            if within is not None and not within.holds(os.path.realpath(path)):
                raise UnsafePath(path, within.refusal(LEADS_OUT))
            status = os.stat(path)
        _check_kind(path, status, has_kind)
        descriptor = os.open(path, _WITHOUT_WAITING)
    except ValueError as error:
        if isinstance(error, UnsafePath):
            raise
        raise UnsafePath(repr(str(path)), "the path holds a null byte or half a character") from None
    except OSError as error:
        reason = reason_of(error)
        if reason is None:
            raise
        raise UnsafePath(path, reason) from None
    try:
        status = os.fstat(descriptor)
        _check_kind(path, status, has_kind)
        if within is not None and not _lies_within(within, descriptor, path):
            raise UnsafePath(path, within.refusal(LEADS_OUT))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status


def _check_kind(path: Path, status: os.stat_result, has_kind: Callable[[int], bool]) -> None:
    if has_kind(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        raise UnsafePath(path, FOLDER)
    raise UnsafePath(path, NO_FOLDER if stat.S_ISREG(status.st_mode) else SPECIAL)


def _lies_within(within: Boundary, descriptor: int, path: Path) -> bool:
    try:
        real = os.readlink(f"{_DESCRIPTORS}/{descriptor}")
    except OSError:
        # Not Linux, or a path that is too long: the file at the real path must be the open one.
        real = os.path.realpath(path)
        try:
            own = os.lstat(real)
        except OSError as error:
            raise UnsafePath(path, f"{UNREADABLE}{os.strerror(error.errno or 0)}") from None
        if not os.path.samestat(own, os.fstat(descriptor)):
            return False
    return within.holds(real)
