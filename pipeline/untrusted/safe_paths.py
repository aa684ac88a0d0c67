"""The one way in which files that strangers made or named are opened.

A data set of someone else's may hold a link to `/etc/passwd`, a table that names `../../private/a.jpg`, or a
pipe called `classes.txt` on which an ordinary `open` waits for ever. What is opened here is a regular file,
and lies in the folder that it must not leave. Both are checked on the descriptor: what takes the place of a
name between a check and the opening gains nothing. tests/untrusted/test_one_way_to_open.py looks for others.

    SafePath      a file, and the folder that it must lie in; to be sent to other processes, and opened there
    Root          a folder; turns the names that stand in its tables into `SafePath`s
    UnsafePath    why a path is not read
"""

import errno
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TextIO

from pipeline.runtime.errors import UserError, shown

FOLDERS_REMEMBERED = 65_536
LONGEST_PATH = 4096
"""As Linux has it. Links are followed for every part of a path."""
MISSING = "the file does not exist"
FOLDER = "a folder, not a file"
NO_FOLDER = "a file, not a folder"
SPECIAL = "a pipe, socket or device, not a file"
FORBIDDEN = "no permission to read the file"
LEADS_OUT = "a link leads out of the source's folder"
UNREADABLE = "the file can't be read: "
_REASONS = {
    errno.ENOENT: MISSING,
    errno.ENOTDIR: MISSING,
    errno.EISDIR: FOLDER,
    errno.ENXIO: SPECIAL,
    errno.ENODEV: SPECIAL,
    errno.EACCES: FORBIDDEN,
    errno.EPERM: FORBIDDEN,
}
_OF_THE_MACHINE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ESTALE}
# A pipe that nobody writes to blocks an ordinary open, and a terminal may become the process's own.
_WITHOUT_WAITING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_DESCRIPTORS = "/proc/self/fd"
"""Where Linux says what a descriptor has open."""


class UnsafePath(UserError):
    """A path that is not read. `reason` says why, for a list of refusals; the message is a whole sentence."""

    def __init__(self, path: str | Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(_sentence(path, reason))

    def __reduce__(self) -> tuple[type["UnsafePath"], tuple[str | Path, str]]:
        return UnsafePath, (self.path, self.reason)  # sent by workers


def _sentence(path: str | Path, reason: str) -> str:
    if reason == MISSING:
        return f"{path} does not exist: check its name and folder"
    cure = "put a regular file in its place"
    if reason == FORBIDDEN:
        cure = "give yourself the permission"
    elif reason == NO_FOLDER:
        cure = "put a folder in its place"
    elif reason.startswith(LEADS_OUT):
        cure = "put what it leads to in its place"
    return f"{path} can't be read ({reason.removeprefix(UNREADABLE)}): {cure}"


@dataclass(frozen=True, slots=True)
class Boundary:
    """The folder that no path may leave."""

    folder: str
    """Without links."""
    allowed_by: str
    """The end of a sentence: which option takes the boundary away."""

    @classmethod
    def around(cls, folder: Path, allowed_by: str) -> "Boundary":
        return cls(os.path.realpath(folder), allowed_by)

    def holds(self, real: str) -> bool:
        return real == self.folder or real.startswith(self.folder.rstrip(os.sep) + os.sep)

    def refusal(self, what: str) -> str:
        return f"{what}, {self.allowed_by}"


@dataclass(frozen=True, slots=True)
class SafePath:
    """A file that is opened only if it is a regular one and lies `within` the boundary.

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
        """Raises `UnsafePath`, and `OSError` for a fault of the machine."""
        descriptor, _ = _opened(self.path, self.within, stat.S_ISREG)
        return os.fdopen(descriptor, "rb")

    def open_text(self, *, newline: str | None = None, errors: str = "strict") -> TextIO:
        """As UTF-8, with or without a byte order mark; otherwise as `open_binary`."""
        return io.TextIOWrapper(self.open_binary(), encoding="utf-8-sig", errors=errors, newline=newline)

    def read_whole(self, most: int) -> bytes | None:
        """The whole file, or None if it holds more than `most` bytes; otherwise as `open_binary`.

        Of one that grows meanwhile, what it held when it was opened.
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
        """A path of the opened file, for libraries that open by path: whatever becomes of its name meanwhile,
        they read the file that was checked. Otherwise as `open_binary`."""
        descriptor, _ = _opened(self.path, self.within, stat.S_ISREG)
        try:
            by_descriptor = f"{_DESCRIPTORS}/{descriptor}"
            yield Path(by_descriptor) if os.path.exists(by_descriptor) else self.path
        except Exception as error:
            # What the library says of the file shall name it as the user does.
            error.args = tuple(
                arg.replace(by_descriptor, str(self.path)) if isinstance(arg, str) else arg
                for arg in error.args
            )
            raise
        finally:
            os.close(descriptor)

    def is_there(self) -> bool:
        """Whether something has this name, if only a link that leads nowhere."""
        return os.path.lexists(self.path)

    def is_folder(self) -> bool:
        """Whether it is a folder, or a link to one: where that may lead, its opening decides."""
        return os.path.isdir(self.path)

    def status(self) -> os.stat_result | None:
        """Its size and times, by which a change is noticed; None where it can't be looked at."""
        return _status(self.path, follow=True)

    @contextmanager
    def opened_folder(self) -> Iterator[int]:
        """A descriptor of the folder at this path, which must be one; otherwise as `open_binary`."""
        descriptor, _ = _opened(self.path, self.within, stat.S_ISDIR)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


class Root:
    """A folder in which strangers named the files, and the boundary of what may be reached from it."""

    def __init__(self, folder: Path, within: Boundary | None) -> None:
        self.folder = folder
        self.within = within
        # Most files lie beside others: where links of their folder lead is looked up once.
        self._real_folder = lru_cache(FOLDERS_REMEMBERED)(os.path.realpath)

    def at(self, member: str) -> SafePath:
        """`member`, unlooked-at: its opening checks it."""
        return SafePath(self.folder / member, self.within)

    def below(self, member: str) -> "Root":
        """The folder `member` of this one, with the same boundary."""
        return Root(self.folder / member, self.within)

    def bounded(self, member: str) -> "Root":
        """The folder `member` of this one, and itself the boundary. Raises `UnsafePath` if it lies outside of
        this one's."""
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
        """Whether it is a folder, or a link to one."""
        return self.at(member).is_folder()

    def file(self, member: str) -> SafePath:
        """The file `member`, as a table names it. It need not exist: opening it finds the words for that.

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
        """Before anything is looked at: to look at a path may mount what it names."""
        if len(member) > LONGEST_PATH:
            raise UnsafePath(shown(member), "the path is too long")
        if "\0" in member:
            raise UnsafePath(repr(member), "the path holds a null byte")
        try:
            os.fsencode(member)
        except UnicodeEncodeError:
            # Half a character, which JSON can escape and no file's name can hold.
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
    """A descriptor of what `has_kind` by its mode, and its status."""
    try:
        # Looked at first, although the descriptor decides: to open a device can have consequences, and to
        # follow a link may mount what it names.
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
        # Not Linux, or a path that is too long: the file that the descriptor has open must lie there.
        real = os.path.realpath(path)
        try:
            own = os.lstat(real)
        except OSError as error:
            raise UnsafePath(path, f"{UNREADABLE}{os.strerror(error.errno or 0)}") from None
        if not os.path.samestat(own, os.fstat(descriptor)):
            return False
    return within.holds(real)


def reason_of(error: OSError) -> str | None:
    """Why a file can't be opened or read, in words; None for a fault of the machine, such as too little
    memory, which is no property of the file."""
    if (reason := _REASONS.get(error.errno or 0)) is not None:
        return reason
    if error.errno in _OF_THE_MACHINE:
        return None
    return f"{UNREADABLE}{os.strerror(error.errno or 0)}"
