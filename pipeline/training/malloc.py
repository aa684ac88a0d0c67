"""How the C library deals with memory that training frees and asks for again in every step."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Of mallopt, from glibc's malloc.h, and glibc's own defaults.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
DEFAULT_TRIM_BYTES, DEFAULT_MMAPS = 128 * 1024, 65_536
NEVER_TRIM_BYTES = 2**31 - 1


@contextmanager
def limited_arenas() -> Iterator[None]:
    """Within, freed memory stays with the process.

    glibc takes each large tensor from the system and gives it back when it is freed, and the system clears
    its pages every time: a tenth of a step on a CPU. Where there is another C library nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        yield
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, NEVER_TRIM_BYTES)
    try:
        yield
    finally:
        mallopt(M_MMAP_MAX, DEFAULT_MMAPS)
        mallopt(M_TRIM_THRESHOLD, DEFAULT_TRIM_BYTES)
