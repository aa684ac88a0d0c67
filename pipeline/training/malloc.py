"""Settings of the C library's allocator for memory that training frees and allocates again in every step."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of mallopt, from glibc's malloc.h, and glibc's defaults.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
DEFAULT_TRIM_BYTES, DEFAULT_MMAPS = 128 * 1024, 65_536
NEVER_TRIM_BYTES = 2**31 - 1


@contextmanager
def limited_arenas() -> Iterator[None]:
    """Keeps freed memory in the process during the block.

    glibc requests each large tensor's memory from the system and returns it when the tensor is freed, and the
    system clears the pages each time: a tenth of a step on a CPU. With another C library nothing changes.
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
