"""Limits on the time and memory of one image. The kernel enforces them, even while a decoder is running.

CPU time and memory are the same on a busy machine as on an idle one, and so are the refusals.

The most expensive images that the other checks let pass, on a core of an AMD EPYC in a cloud, with the 40 MiB
that Python takes: of 100 million pixels, PNG with transparency 3.6 s and 894 MiB, TIFF of 32 bits 3.5 s and
895 MiB, PNG of 16 bits 2.5 s and 704 MiB, progressive JPEG 1.9 s and 729 MiB, other JPEG 1.1 s and 328 MiB;
of 49 million pixels, lossless WebP 2.1 s and 943 MiB. Resizing a photo of 12 million pixels takes 0.04 s to
224 pixels, and 0.3 s to 2,048.
"""

import ctypes
import errno
import mmap
import os
import resource
import signal
import struct
import sys
from collections.abc import Generator, Sequence
from typing import TypeVar

CPU_SECONDS = 5
"""Maximum CPU time in user and system mode: ITIMER_PROF, which ends the process with SIGPROF."""
WALL_SECONDS = 300
"""Maximum wall time, for a decoder that sleeps, or a file system that hangs: ITIMER_REAL, SIGALRM."""
MEBIBYTES = 928
"""Maximum memory beyond what the worker holds when it starts: RLIMIT_DATA."""
HELD_BYTES = 48 * 2**20
"""Size of the results of earlier images that a call may hold; these and its input do not count as memory of
the image."""

NOWHERE = -1
NOTE = struct.Struct("q")
T = TypeVar("T")


class _Worker:
    """The state of this process, if `begin` made it a worker."""

    note: mmap.mmap | None = None
    held: int | None = None
    """Bytes at its start, as RLIMIT_DATA counts them; None if the system does not report them."""
    given: int = 0
    """Size in bytes of the input of the current call."""
    outside: tuple[int, int] = (0, 0)
    """RLIMIT_DATA while no image is decoded."""


def begin(note: mmap.mmap) -> None:
    """Makes this process a worker with limits; `note` is shared with the server, which outlives it."""
    _Worker.note = note
    NOTE.pack_into(note, 0, NOWHERE)
    # A decoder that crashes would write a core dump of up to a gigabyte.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    _Worker.held = _bytes_of_data()
    _Worker.outside = resource.getrlimit(resource.RLIMIT_DATA)


def begin_call(size: int) -> None:
    """Begins a call whose input has `size` bytes."""
    _Worker.given = size


def limited(items: Sequence[T], first: int = 0) -> Generator[T, None, None]:
    """Yields the items from number `first` on. Each has the limits of one image until the next is requested.

    There are no limits in a process that is not a worker.
    """
    if _Worker.note is None:
        yield from items[first:]
        return
    try:
        if _Worker.held is not None:
            requested = _Worker.held + _Worker.given + HELD_BYTES + MEBIBYTES * 2**20
            soft, hard = _Worker.outside
            soft = requested if soft == resource.RLIM_INFINITY else min(soft, requested)
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        for number in range(first, len(items)):
            NOTE.pack_into(_Worker.note, 0, number)
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
            yield items[number]
    finally:
        end()


def end() -> None:
    """Lifts the limits, since what follows belongs to no image."""
    if _Worker.note is None:
        return
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    if _Worker.held is not None:
        resource.setrlimit(resource.RLIMIT_DATA, _Worker.outside)
    NOTE.pack_into(_Worker.note, 0, NOWHERE)


# --- reasons ------------------------------------------------------------------------------------------------

CRASHED = "decoding it ends the process: damaged, or made to do harm"
TOO_SLOW = f"decoding took more than {CPU_SECONDS} s"
STUCK = f"decoding did not end within {WALL_SECONDS} s"
TOO_LARGE = f"decoding needs more than {MEBIBYTES} MiB"


def reason(killed_by: int) -> str:
    """Returns the reason why an image is refused, given the signal that ended its process."""
    if killed_by == signal.SIGPROF:
        return TOO_SLOW
    return STUCK if killed_by == signal.SIGALRM else CRASHED


def forget_lack_of_memory() -> None:
    """Resets `errno` before a decoder runs: see `lacked_memory`."""
    if _errno is not None:
        _errno()[0] = 0


def lacked_memory(error: Exception) -> bool:
    """Returns whether a decoder failed because of the memory limit.

    Some decoders report it as damaged data. But the kernel's refusal stays in the C library's `errno`, since
    a failing decoder does nothing afterwards that sets another.
    """
    if _Worker.held is None:
        return False
    return isinstance(error, MemoryError) or (_errno is not None and _errno()[0] == errno.ENOMEM)


def _c_errno() -> "ctypes._NamedFuncPointer | None":
    """Returns the function for the address of this thread's `errno`; None if the C library has none of this
    name."""
    function = getattr(ctypes.CDLL(None), "__errno_location", None)
    if function is not None:
        function.restype = ctypes.POINTER(ctypes.c_int)
    return function


_errno = _c_errno() if sys.platform == "linux" else None


def _bytes_of_data() -> int | None:
    """Returns what RLIMIT_DATA counts for this process: private memory that can be written. None if the
    system does not report it, and then does not enforce that limit either."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
