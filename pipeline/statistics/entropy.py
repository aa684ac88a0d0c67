"""Plug-in entropy of counts."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def entropy_bits(counts: NDArray[np.integer[Any]]) -> float:
    """Returns H = log2 N - (1/N) sum n log2 n over `counts`; 0 for no rows."""
    sizes, times = sizes_and_times(counts)
    rows = int(sizes @ times)
    if rows == 0:
        return 0.0
    return max(0.0, math.log2(rows) - float((times * sizes * np.log2(sizes)).sum()) / rows)


def sizes_and_times(counts: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the distinct counts above zero and how often each occurs.

    Many counts are equal, so this saves expensive logarithms.
    """
    largest = int(counts.max(initial=0))
    if largest > 4 * counts.size:
        sizes, times = np.unique(counts[counts > 0], return_counts=True)
        return sizes.astype(np.int64), times.astype(np.int64)
    times = np.bincount(counts)
    sizes = np.flatnonzero(times[1:]) + 1
    return sizes, times[sizes]
