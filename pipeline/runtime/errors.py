"""Mistakes that a user can fix, and faults of the machine, each as one sentence.

Exception
├── ValueError
│   ├── UserError              ends the command: one sentence on standard error, exit code 2
│   │   ├── UnsafePath         a path that leaves its folder, or is no regular file
│   │   └── WorkerDied         the process that decodes images was killed
│   ├── ImageRefused           becomes a row of rejects.parquet; so do
│   │   └── NoImage, NotAClass, NotOneValue, TooLarge, LineTooLong, NoRange
│   ├── Unsupported            the file is decoded and encoded instead, which is slower
│   ├── NotJson, NotParquet    a parser's refusal, which the caller turns into one of the above
│   ├── WeightsRefused         weights that cannot be used, which becomes a UserError; so does
│   │   └── VectorsRefused
│   └── NoClusters             a column that `statistics` leaves out with a note
├── RuntimeError
│   └── NoWayOut               DVC tried something forbidden while it read a repository
├── EncoderUnreadable          damaged or foreign files of an encoder
├── TrialFailed                a measurement of `doctor` ended without a result
└── WorkerKilled               a process of an executor was killed by one of its jobs
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.runtime.sanitize import LONGEST_VALUE, for_utf8, shortened

MISTAKE = 2
"""Exit code."""


class UserError(ValueError):
    """A user's mistake. The message is one sentence that names the parameter or file and the cure."""


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Turns a `UserError`, or a fault of the machine, into its sentence on standard error and exit code 2.

    No traceback is printed.
    """
    try:
        yield
    except Exception as error:
        sentence = str(error) if isinstance(error, UserError) else system_error_message(error)
        if sentence is None:
            raise
        # Imported here, since what only raises errors, such as a reader of one file, must start at once.
        from pipeline.runtime.console import log_error

        log_error(sentence)
        raise SystemExit(MISTAKE) from None


def shown(value: object) -> str:
    """Returns `value` as text for a message: at most `LONGEST_VALUE` letters, without its middle."""
    return shortened(str(value), LONGEST_VALUE)


def listed(names: list[str], limit: int = 12) -> str:
    """Joins names: `["a", "b"]` -> "a, b". Long names and lists are shortened to keep a sentence readable."""
    joined = ", ".join(shortened(name, LONGEST_VALUE) for name in names[:limit])
    return joined if len(names) <= limit else f"{joined} and {len(names) - limit} more"


# --- the machine --------------------------------------------------------------------------------------------

_MEMORY = "end other programs, or take a machine with more memory"
_NO_FOLDER = (errno.EEXIST, errno.ENOTDIR)
_FOLDER_NEEDED = "move away what stands there, where a folder is needed"


def _numbers(*names: str) -> list[int]:
    """Returns the error codes of these names, of which each system has some."""
    return [getattr(errno, name) for name in names if hasattr(errno, name)]


_CURES = {
    errno.ENOENT: "choose another place, or put back what was there",
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room, or ask for a larger quota",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EACCES: "give yourself the permission",
    errno.EPERM: "give yourself the permission",
    errno.EROFS: "make that disk writable",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "end programs that hold many files open",
    errno.ENOMEM: _MEMORY,
    errno.EAGAIN: "raise the limit of processes (ulimit -u), or end other programs",
    **dict.fromkeys(_NO_FOLDER, _FOLDER_NEEDED),
    errno.EISDIR: "move away the folder that stands there, where a file is needed",
    errno.ENOTEMPTY: "end what writes into that folder",
    errno.EBUSY: "end what uses it",
    errno.ETXTBSY: "end the program that runs from it",
    errno.ELOOP: "remove the links that lead in a circle",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EXDEV: "keep the folder and what is in it on one file system",
    errno.EIO: "check that disk, which fails to read or write",
    errno.ESTALE: "mount that network file system again",
    errno.ENOLCK: "choose a place on a file system with locks",
    # Of network file systems; a download may raise some of them, too.
    **dict.fromkeys(
        _numbers(
            *("ENOTCONN", "ESHUTDOWN", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN"),
            *("EREMOTEIO", "ENOLINK", "ECOMM", "EPROTO"),
        ),
        "check the network, and mount the file system again if it lies on another machine",
    ),
    **dict.fromkeys(
        _numbers("EUCLEAN", "EBADMSG", "ENODATA"), "check that file system, which reports that it is damaged"
    ),
    **dict.fromkeys(_numbers("ENODEV", "ENXIO", "ENOMEDIUM"), "check that disk, which is gone"),
    **dict.fromkeys(
        _numbers("ENOKEY", "EKEYEXPIRED", "EKEYREVOKED", "EKEYREJECTED"),
        "log in again, or unlock that folder, whose key is missing",
    ),
}
_AGAIN = "and type the same command again: what was done is not lost, and nothing half-written is left"
_RUST_ERROR = re.compile(r"\(os error (\d+)\)")
"""Format of safetensors and tokenizers."""
_SHARED_MEMORY = re.compile(r"unable to (?:open|write to|resize|allocate|mmap).*\((\d+)\)")
"""Format of torch, for files that no longer have a name."""
_NO_THREAD = "can't start new thread"
"""Message of Python at a limit of processes, which counts threads, or of memory for their stacks."""
_NO_MEMORY = (
    *("allocate memory", "not enough memory: you tried to allocate", "out of memory"),
    *("bad_alloc", "failed to map segment"),
)
_NO_USER = ("getpwuid(): uid not found", "No username set in the environment")
"""Messages of Python in a container that was started with a user number that it does not know."""
FULL_BELOW = 1 << 20
"""Free bytes below which a file system counts as full."""


def system_error_message(error: BaseException) -> str | None:
    """Returns a sentence with the cure for a fault of the machine; None for every other error.

    Such faults are a full or read-only disk, a missing permission and too little memory.
    """
    for cause in _causes(error):
        if _is_memory(cause):
            return f"the memory is not enough ({shown(first_line(cause))}): {_MEMORY}, {_AGAIN}"
        if isinstance(cause, ValueError) and "embedded null" in str(cause):
            return "a path holds a null byte, which no file's name can: choose another"
        if isinstance(cause, UnicodeEncodeError) and cause.reason == "surrogates not allowed":
            return (
                f"{shown(for_utf8(cause.object))} is not UTF-8 text, as a path here must be: choose another"
            )
        if isinstance(cause, KeyError | OSError) and any(words in str(cause) for words in _NO_USER):
            return "the user's number has no name on this machine: give one by the variable USER, as USER=me"
        number = _number_of(cause)
        if number == errno.ENOENT and cause is not error:
            continue  # programs probe for files that may be missing
        if number in _CURES:
            where = _place_of(cause, number)
            return f"the machine refuses{where} ({os.strerror(number)}): {_CURES[number]}, {_AGAIN}"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields the error and its causes: libraries wrap the kernel's errors in their own."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # torch is not imported for this check. A shared library for which memory is lacking is an ImportError.
    of_a_library = isinstance(error, RuntimeError | ImportError)
    return of_a_library and any(words in str(error).lower() for words in _NO_MEMORY)


def _number_of(error: BaseException) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    pattern = {"SafetensorError": _RUST_ERROR, "RuntimeError": _SHARED_MEMORY}.get(type(error).__name__)
    if str(error) == _NO_THREAD:
        return errno.EAGAIN
    found = pattern.search(str(error)) if pattern is not None else None
    return int(found[1]) if found else None


def _place_of(error: BaseException, number: int) -> str:
    # If a move fails, the obstacle is at its destination.
    named = getattr(error, "filename2", None) or getattr(error, "filename", None)
    if isinstance(named, str | bytes | os.PathLike):
        path = Path(os.fsdecode(named))
        return f" at {shown(_no_folder(path) if number in _NO_FOLDER else path)}"
    if number != errno.ENOSPC:
        return ""
    # Shared memory and temporary files have no name, so the full file system is searched for.
    full = [place for place in ("/dev/shm", tempfile.gettempdir(), os.curdir) if _is_full(place)]  # noqa: S108
    return f" at {os.path.abspath(full[0])}" if full else ""


def _no_folder(path: Path) -> Path:
    """Returns the first part of the way to `path`, including it, that exists and is not a folder."""
    way = (*reversed(path.parents), path)
    return next((place for place in way if os.path.lexists(place) and not place.is_dir()), path)


def _is_full(place: str) -> bool:
    try:
        return shutil.disk_usage(place).free < FULL_BELOW
    except OSError:
        return False


def first_line(error: BaseException) -> str:
    """Returns the first line of the message, without what libraries add; the class name if it is empty."""
    return str(error).partition("\n")[0].strip().rstrip(".:") or type(error).__name__
