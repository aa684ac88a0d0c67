"""Mistakes that a user can mend, and faults of the machine, told in one sentence."""

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.escaping import for_terminal


class UserError(ValueError):
    """A user's mistake. The message is one sentence that names the parameter or file and the cure."""


@contextmanager
def told_in_a_sentence() -> Iterator[None]:
    """Turns a `UserError`, or a fault of the machine, into its sentence on standard error and exit code 2,
    without a traceback."""
    try:
        yield
    except Exception as error:
        sentence = str(error) if isinstance(error, UserError) else fault_of_the_machine(error)
        if sentence is None:
            raise
        # It may quote names that strangers gave.
        print(f"error: {for_terminal(shortened(sentence))}", file=sys.stderr)
        raise SystemExit(2) from None


LONGEST_NAME = 200
LONGEST_SENTENCE = 4000


def shortened(sentence: str, most: int = LONGEST_SENTENCE) -> str:
    """Without the middle of a name of megabytes, which a stranger may give."""
    half = most // 2
    return sentence if len(sentence) <= most else f"{sentence[:half]} … {sentence[-half:]}"


def listed(names: list[str], limit: int = 12) -> str:
    """`["a", "b"]` -> "a, b"; long names and lists are cut, so that a sentence stays a sentence."""
    shown = ", ".join(shortened(name, LONGEST_NAME) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


# --- the machine --------------------------------------------------------------------------------------------

_CURES = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room, or ask for a larger quota",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EACCES: "give yourself the permission",
    errno.EPERM: "give yourself the permission",
    errno.EROFS: "make that disk writable",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "end programs that hold many files open",
    errno.ENOMEM: "end other programs, or take a machine with more memory",
}
_AGAIN = "and type the same command again: what was done is not lost, and nothing half-written is left"
_RUST_ERROR = re.compile(r"\(os error (\d+)\)")
"""As safetensors and tokenizers tell of it."""
_TORCH_MEMORY = ("can't allocate memory", "not enough memory: you tried to allocate", "out of memory")


def fault_of_the_machine(error: BaseException) -> str | None:
    """A full or read-only disk, a missing permission, too little memory: a sentence with its cure; None for
    every other error."""
    for cause in _causes(error):
        if _is_memory(cause):
            return f"the memory is not enough ({first_line(cause)}): {_CURES[errno.ENOMEM]}, {_AGAIN}"
        number = _number_of(cause)
        if number in _CURES:
            named = getattr(cause, "filename", None)
            where = f" at {os.fsdecode(named)}" if isinstance(named, str | bytes) else ""
            return f"the machine refuses{where} ({os.strerror(number)}): {_CURES[number]}, {_AGAIN}"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that led to it: libraries put their own around the kernel's."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def _is_memory(error: BaseException) -> bool:
    # torch is not imported for its sake.
    of_torch = isinstance(error, RuntimeError) and any(told in str(error) for told in _TORCH_MEMORY)
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or of_torch


def _number_of(error: BaseException) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    found = _RUST_ERROR.search(str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(found[1]) if found else None


def first_line(error: BaseException) -> str:
    """What it says, without the paragraphs that libraries add; its name where it says nothing."""
    return str(error).partition("\n")[0].strip().rstrip(".:") or type(error).__name__
