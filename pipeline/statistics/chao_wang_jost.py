"""Entropy of a population, estimated from an incomplete sample (Chao, Wang and Jost 2013).

"Entropy and the species accumulation curve", Methods in Ecology and Evolution 4, equation 7: the exact slope
of the accumulation curve up to the sample's size, and its continuation beyond it from the numbers of values
that were seen once and twice. All entropies are in nats. A sample is given by the distinct counts `sizes_S`,
from 1, and by the number of values with each count, `times_S`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_EULER_GAMMA = 0.5772156649015329
_TABULATED = 32
_SMALL_DIGAMMAS = np.concatenate([[np.nan], np.cumsum([-_EULER_GAMMA, *(1 / np.arange(1, _TABULATED - 1))])])

# Nodes of the double-exponential rule for integrals of g(v) exp(-v) from 0 to infinity (Takahasi and Mori
# 1974), which handles the near-singularity at 0.
_NODES = np.arange(-6.0, 8.0, 0.04)
_ABSCISSAE = np.exp(_NODES - np.exp(-_NODES))
_WEIGHTS = _ABSCISSAE * (1 + np.exp(-_NODES)) * 0.04 * np.exp(-_ABSCISSAE)

# In a random half, a value seen n times is seen once with probability n 2^-n, and loses the slope of the
# accumulation curve: n times the integral of (1-u)^(n-1) / u for u from 1/2 to 1, which is n times the sum of
# 2^-j / j over all j >= n. For n above 64, all three are below 1e-17.
_N = np.arange(65.0)
_ONCE_IN_HALF = _N * 0.5**_N
_TWICE_IN_HALF = _N * (_N - 1) / 2 * 0.5**_N
_SLOPE_BEYOND_HALF = _N * np.append(0.0, np.cumsum((0.5 ** _N[1:] / _N[1:])[::-1])[::-1])


def entropy_nats(sizes_S: Counts, times_S: Counts) -> float:
    """Estimates the entropy from a whole sample of at least one row."""
    rows = int(sizes_S @ times_S)
    return _seen_nats(sizes_S, times_S) + float(_unseen_nats(rows, *_once_and_twice(sizes_S, times_S)))


def entropy_of_half_nats(sizes_S: Counts, times_S: Counts) -> float:
    """Estimates the entropy from the mean counts of a random half of the rows, each with probability 1/2."""
    rows = int(sizes_S @ times_S)
    few = sizes_S < _N.size
    once, twice, slope = (
        float(times_S[few] @ of_size[sizes_S[few]])
        for of_size in (_ONCE_IN_HALF, _TWICE_IN_HALF, _SLOPE_BEYOND_HALF)
    )
    return _seen_nats(sizes_S, times_S) - slope / rows + float(_unseen_nats(rows / 2, once, twice))


def entropies_without_a_row_nats(sizes_S: Counts, times_S: Counts) -> Floats:
    """Estimates the entropy from all rows but one, whose value was seen as often as each of `sizes_S`.

    The sample has at least two rows.
    """
    rows = int(sizes_S @ times_S)
    once, twice = _once_and_twice(sizes_S, times_S)
    # n digamma(n) - (n-1) digamma(n-1) is digamma(n) + 1, and digamma(1) for n = 1.
    lost_S = _digamma(sizes_S) + (sizes_S > 1)
    seen_S = _digamma(rows - 1) - (float((times_S * sizes_S) @ _digamma(sizes_S)) - lost_S) / (rows - 1)
    unseen_4 = _unseen_nats(rows - 1, once + np.array([-1, 1, 0, 0]), twice + np.array([0, -1, 1, 0]))
    return np.asarray(seen_S + unseen_4[np.minimum(sizes_S, 4) - 1], dtype=np.float64)


def _seen_nats(sizes_S: Counts, times_S: Counts) -> float:
    """Returns the part of the accumulation curve up to the sample's size."""
    rows = int(sizes_S @ times_S)
    return float(_digamma(rows)) - float((times_S * sizes_S) @ _digamma(sizes_S)) / rows


def _once_and_twice(sizes_S: Counts, times_S: Counts) -> tuple[int, int]:
    return int(times_S[sizes_S == 1].sum()), int(times_S[sizes_S == 2].sum())


def _unseen_nats(rows: float, once: ArrayLike, twice: ArrayLike) -> Floats:
    """Returns (once/N) (1-A)^(1-N) [-ln A - sum_{r<N} (1-A)^r / r].

    A is the mean share of a value seen once. The bracket is the rest of the series of -ln A, so the term is
    the sum of (1-A)^(j+1) / (N+j) over j >= 0, times once/N, which is an integral without overflow or
    cancellation. It is 0 if nothing was seen once.
    """
    once, twice = np.broadcast_arrays(np.asarray(once, np.float64), np.asarray(twice, np.float64))
    # If nothing was seen twice, the estimate is that for one value seen twice and one fewer seen once.
    none_twice = twice <= 0
    doubled = 2 * np.where(none_twice, 1.0, twice)
    others = (rows - 1) * np.where(none_twice, once - 1, once)
    is_open = (once > 0) & (others > 0)
    log_rest = np.log1p(-doubled / np.where(is_open, others + doubled, 2 * doubled))
    denominators = -rows * np.expm1(log_rest[..., None] - _ABSCISSAE / rows)
    unseen = once / rows * np.exp(log_rest) * (_WEIGHTS / denominators).sum(axis=-1)
    return np.where(is_open, unseen, 0.0)


def _digamma(counts: ArrayLike) -> Floats:
    """Returns the digamma function at integers from 1 (Abramowitz and Stegun 1964, 6.3.2 and 6.3.18)."""
    n = np.asarray(counts, dtype=np.float64)
    large = np.maximum(n, _TABULATED)
    square = 1 / (large * large)
    rest = square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square / 240)))
    tabulated = _SMALL_DIGAMMAS[np.minimum(n, _TABULATED - 1).astype(np.intp)]
    return np.where(n < _TABULATED, tabulated, np.log(large) - 0.5 / large - rest)
