"""Logarithms of factorials and hypergeometric probabilities, exact to rounding for any counts."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_TABULATED = 32
_SMALL_REMAINDERS = np.array(
    [0.0] + [math.log(math.factorial(n)) - (n * math.log(n) - n) for n in range(1, _TABULATED)]
)


def stirling_remainder(counts: ArrayLike) -> Floats:
    """Returns ln n! - (n ln n - n) for integers n >= 0, to 1e-15.

    Uses Stirling's series from n = 32 on (Abramowitz and Stegun 1964, 6.1.41), and a table below.
    """
    n = np.asarray(counts, dtype=np.float64)
    large = np.maximum(n, _TABULATED)
    square = 1 / (large * large)
    series = (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680))) / large
    tabulated = _SMALL_REMAINDERS[np.minimum(n, _TABULATED - 1).astype(np.intp)]
    return np.where(n < _TABULATED, tabulated, 0.5 * np.log(2 * np.pi * large) + series)


def log_hypergeometric(overlap: ArrayLike, first: ArrayLike, second: ArrayLike, total: int) -> Floats:
    """Returns ln P(`overlap`) of random subsets of `total`, sized `first` and `second`; -inf if impossible.

    The difference of log-factorials loses digits as `total` grows (1e-8 at ten million). Writing each
    factorial as its Stirling part and a remainder turns that difference into four deviances, which are small
    unless the probability is small (the saddle-point form of Loader 2000, "Fast and accurate computation of
    binomial probabilities", here for the four cells of a 2 x 2 table).
    """
    both, a, b = (np.asarray(x, np.float64) for x in np.broadcast_arrays(overlap, first, second))
    expected = a * b / total
    excess = both - expected
    cells = (both, a - both, b - both, total - a - b + both)
    possible = np.logical_and.reduce([cell >= 0 for cell in cells])
    margins = sum((stirling_remainder(m) for m in (a, b, total - a, total - b)), -stirling_remainder(total))
    log_probability: Any = margins
    for cell, sign in zip(cells, (1, -1, -1, 1), strict=True):
        count = np.where(possible, cell, 0.0)
        log_probability = log_probability - _deviance(count, sign * excess) - stirling_remainder(count)
    return np.where(possible, log_probability, -np.inf)


def _deviance(count: Floats, excess: Floats) -> Floats:
    """Returns n ln(n/e) - (n - e) for n = `count` and e = n - `excess`, without cancellation near n = e."""
    expected = np.maximum(count - excess, 0.0)
    share = np.divide(excess, expected, out=np.zeros_like(expected), where=expected > 0)
    above_empty = np.maximum(share, -1 + 1e-300)
    logarithm = np.log1p(np.where(count > 0, above_empty, 0.0))
    return np.where(count > 0, expected * ((1 + share) * logarithm - share), expected)
