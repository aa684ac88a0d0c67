"""Entropy and information of the population, from a sample that has not seen all of it.

Plug-in information is biased upwards when clusters are many and small, because most cells of the joint
table are seen once or never. Of the published estimators tried on known distributions (Miller 1955,
Grassberger 2003, Chao and Shen 2003, Chao, Wang and Jost 2013) the last has the smallest mean error at every
sample size: `benchmarks/cluster_statistics.py estimators` prints the figures.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.statistics.contingency import Contingency, Counts
from pipeline.statistics.entropy import sizes_and_times

ESTIMATOR = "chao_wang_jost_2013"

_EULER_GAMMA = 0.5772156649015329
_TABULATED = 32
_SMALL_DIGAMMAS = np.concatenate([[np.nan], np.cumsum([-_EULER_GAMMA, *(1 / np.arange(1, _TABULATED - 1))])])

# Nodes of the double-exponential rule for integrals of g(v) exp(-v) from 0 to infinity (Takahasi and Mori
# 1974): it takes the near-singularity at 0 in its stride.
_NODES = np.arange(-6.0, 8.0, 0.04)
_ABSCISSAE = np.exp(_NODES - np.exp(-_NODES))
_WEIGHTS = _ABSCISSAE * (1 + np.exp(-_NODES)) * 0.04 * np.exp(-_ABSCISSAE)


@dataclass(frozen=True, slots=True)
class CorrectedInformation:
    """Estimates for the population, in bits."""

    mutual_information_bits: float
    conditional_entropy_bits: float
    """H(Z|T)."""


def corrected_information(table: Contingency) -> CorrectedInformation:
    """I = H(Z) + H(T) - H(Z,T) and H(Z|T) = H(Z,T) - H(T), each entropy by Chao, Wang and Jost.

    I is cut to where information can lie, from 0 to the smaller of the two entropies.
    """
    clusters = corrected_entropy_bits(table.cluster_sizes_K)
    labels = corrected_entropy_bits(table.label_sizes_L)
    joint = corrected_entropy_bits(table.counts_C)
    mutual = min(max(0.0, clusters + labels - joint), clusters, labels)
    return CorrectedInformation(mutual, max(0.0, clusters - mutual))


def corrected_entropy_bits(counts: Counts) -> float:
    """The entropy of the distribution that `counts` were drawn from; 0 for no rows.

    Chao, Wang and Jost 2013, "Entropy and the species accumulation curve", Methods in Ecology and Evolution
    4, equation 7: the exact slope of the accumulation curve up to the sample's size, and its continuation
    beyond from how many values were seen once and twice.
    """
    sizes, times = sizes_and_times(counts)
    rows = int(sizes @ times)
    if rows == 0:
        return 0.0
    seen = float((times * sizes) @ (_digamma(rows) - _digamma(sizes))) / rows
    once, twice = (int(times[sizes == n].sum()) for n in (1, 2))
    return (seen + _unseen_nats(rows, once, twice)) / math.log(2)


def _unseen_nats(rows: int, once: int, twice: int) -> float:
    """(once/N) (1-A)^(1-N) [-ln A - sum_{r<N} (1-A)^r / r], for A the mean share of a value seen once.

    The bracket is the rest of the series of -ln A, so the term is the sum of (1-A)^(j+1) / (N+j) over
    j >= 0, which is an integral without overflow or cancellation.
    """
    if once == 0:
        return 0.0
    # Where nothing was seen twice, the estimate is the one for a single value seen twice and one fewer once.
    once_or_fewer, twice_or_one = (once, twice) if twice > 0 else (once - 1, 1)
    share = 2 * twice_or_one / ((rows - 1) * once_or_fewer + 2 * twice_or_one)
    if share >= 1:
        return 0.0
    log_rest = math.log1p(-share)
    denominators = -rows * np.expm1(log_rest - _ABSCISSAE / rows)
    return once / rows * math.exp(log_rest) * float((_WEIGHTS / denominators).sum())


def _digamma(counts: ArrayLike) -> NDArray[np.float64]:
    """The digamma function at whole numbers from 1 (Abramowitz and Stegun 1964, 6.3.2 and 6.3.18)."""
    n = np.asarray(counts, dtype=np.float64)
    large = np.maximum(n, _TABULATED)
    square = 1 / (large * large)
    rest = square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square / 240)))
    tabulated = _SMALL_DIGAMMAS[np.minimum(n, _TABULATED - 1).astype(np.intp)]
    return np.where(n < _TABULATED, tabulated, np.log(large) - 0.5 / large - rest)
