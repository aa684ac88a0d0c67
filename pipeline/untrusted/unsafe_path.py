"""Why a path is not read: reasons in words, and the exception that carries one."""

import errno
import os
from pathlib import Path

from pipeline.runtime.errors import UserError

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


class UnsafePath(UserError):
    """Raised for a path that is not read. `reason` is for a list of refusals; the message is a sentence."""

    def __init__(self, path: str | Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(_sentence(path, reason))

    def __reduce__(self) -> tuple[type["UnsafePath"], tuple[str | Path, str]]:
        return UnsafePath, (self.path, self.reason)  # pickled by workers


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


def reason_of(error: OSError) -> str | None:
    """Returns why a file can't be opened or read, in words; None for a fault of the machine, such as lack of
    memory, which is not a property of the file."""
    if (reason := _REASONS.get(error.errno or 0)) is not None:
        return reason
    if error.errno in _OF_THE_MACHINE:
        return None
    return f"{UNREADABLE}{os.strerror(error.errno or 0)}"
