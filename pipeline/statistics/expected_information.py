"""Expected mutual information by chance: two clusterings with given sizes and shuffled rows."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.contingency import Contingency
from pipeline.statistics.entropy import entropy_bits
from pipeline.statistics.factorials import log_hypergeometric

Floats = NDArray[np.float64]

_PAIRS_AT_ONCE = 1 << 16
_REACH = 8.0
"""Standard deviations from the mean beyond which a hypergeometric probability is below 1e-14."""
_NODES_PER_DEVIATION = 1.3
"""Nodes per standard deviation at which the trapezoidal rule integrates a normal density to 1e-14."""
_NEGLIGIBLE = 1e-25

_CERTAIN = 1e-4
_SHUFFLED_ROWS = 4_000_000
_FEWEST_SHUFFLES, _MOST_SHUFFLES = 8, 32
_ROUNDING_SQUARED = 1e-24


def expected_mutual_information_bits(table: Contingency) -> float:
    """Returns E[I] over all tables with the margins of `table`.

    Vinh, Epps and Bailey 2010, JMLR 11, equation 24. Each cell is hypergeometric and its term depends only on
    its two margins. The sum is therefore over the distinct pairs of sizes, weighted by their frequency:
    10,000 clusters by 1,000 labels have ten million cells but far fewer distinct pairs.
    """
    sizes_a, times_a = _distinct(table.cluster_sizes_K)
    sizes_b, times_b = _distinct(table.label_sizes_L)
    if sizes_a.size == 0 or sizes_a[-1] == table.rows or sizes_b[-1] == table.rows:
        return 0.0  # no rows, or one side is a single cluster
    nats = 0.0
    pairs = sizes_a.size * sizes_b.size
    for start in range(0, pairs, _PAIRS_AT_ONCE):
        index_a, index_b = np.divmod(np.arange(start, min(start + _PAIRS_AT_ONCE, pairs)), sizes_b.size)
        weights = times_a[index_a] * times_b[index_b]
        nats += float(weights @ _expected_terms(sizes_a[index_a], sizes_b[index_b], table.rows))
    return nats / table.rows / math.log(2)


def independence_p_value(
    table: Contingency,
    mutual_information_bits: float,
    expected_bits: float,
    generator: np.random.Generator,
) -> float:
    """Returns the probability of at least this much information between independent clusters and labels.

    2 N ln(2) I is the likelihood-ratio statistic G. Its exact mean over all tables with these margins follows
    from `expected_bits`. A chi-squared distribution with that mean has the right tail if cells are full, and
    too heavy a tail if they are sparse. A small p-value is therefore returned as it is. Otherwise the
    variance is measured on shuffled tables and used if it is clearly below that of the chi-squared
    distribution (Satterthwaite 1946: a scaled chi-squared with both moments).
    """
    to_statistic = 2 * table.rows * math.log(2)
    mean, statistic = to_statistic * expected_bits, to_statistic * mutual_information_bits
    if mean <= 0:
        return 1.0
    p_value = _tail(statistic, mean, 2 * mean)
    if p_value < _CERTAIN:
        return p_value
    variance = to_statistic**2 * _variance_of_shuffled_joint_entropy(table, generator)
    if variance == 0:  # as for singletons: every shuffle gives the same information
        return 1.0
    return _tail(statistic, mean, variance) if variance < mean else p_value


def _tail(statistic: float, mean: float, variance: float) -> float:
    """Returns P(X >= `statistic`) for a scaled chi-squared X (Wilson and Hilferty 1931)."""
    freedom = 2 * mean**2 / variance
    spread = 2 / (9 * freedom)
    stds = (math.cbrt(statistic / mean) - (1 - spread)) / math.sqrt(spread)
    return 0.5 * math.erfc(stds / math.sqrt(2))


def _variance_of_shuffled_joint_entropy(table: Contingency, generator: np.random.Generator) -> float:
    """Returns the variance in bits squared. With given margins, I and H(Z,T) differ only by a constant."""
    clusters_N = np.repeat(table.clusters_C, table.counts_C)
    labels_N = np.repeat(table.labels_C, table.counts_C)
    shuffles = int(np.clip(_SHUFFLED_ROWS // table.rows, _FEWEST_SHUFFLES, _MOST_SHUFFLES))
    entropies = []
    for _ in range(shuffles):
        generator.shuffle(labels_N)
        entropies.append(entropy_bits(Contingency.of_codes(clusters_N, labels_N).counts_C))
    variance = float(np.var(entropies, ddof=1))
    return variance if variance > _ROUNDING_SQUARED else 0.0


def _distinct(sizes: NDArray[np.int64]) -> tuple[Floats, Floats]:
    values, times = np.unique(sizes[sizes > 0], return_counts=True)
    return values.astype(np.float64), times.astype(np.float64)


def _expected_terms(a: Floats, b: Floats, rows: int) -> Floats:
    """Returns E[n ln(n rows / (a b))] for n hypergeometric with margins `a` and `b`."""
    mean = a * b / rows
    std = np.sqrt(mean * (1 - a / rows) * (1 - b / rows) * rows / max(rows - 1, 1))
    least, most = np.maximum(0.0, a + b - rows), np.minimum(a, b)
    is_wide = (mean - _REACH * std > least + 1) & (mean + _REACH * std < most - 1)
    is_wide &= std > 2 * _NODES_PER_DEVIATION
    terms = np.empty_like(mean)
    wide, narrow = np.flatnonzero(is_wide), np.flatnonzero(~is_wide)
    terms[wide] = _terms_by_quadrature(a[wide], b[wide], rows, mean[wide], std[wide])
    terms[narrow] = _terms_one_by_one(a[narrow], b[narrow], rows, mean[narrow], std[narrow])
    return terms


def _terms_one_by_one(a: Floats, b: Floats, rows: int, mean: Floats, std: Floats) -> Floats:
    """Sums over every n, with each probability computed from the previous one."""
    if a.size == 0:
        return mean
    least = np.maximum(0.0, a + b - rows)
    # By Bernstein's bound, less than 1e-16 of the probability lies below this n.
    count = np.maximum(least, np.floor(mean - (_REACH + 1) * std - 27))
    probability = np.exp(log_hypergeometric(count, a, b, rows))
    log_mean = np.log(mean)
    terms = np.zeros_like(mean)
    while True:
        terms += probability * _deviance(count, mean, log_mean)
        probability *= (a - count) * (b - count) / ((count + 1) * (rows - a - b + count + 1))
        count += 1
        if np.all((probability < _NEGLIGIBLE) & (count > mean)):
            return terms


def _terms_by_quadrature(a: Floats, b: Floats, rows: int, mean: Floats, std: Floats) -> Floats:
    """Sums over every `step`-th n, for distributions that are wide, far from their ends, and thus smooth.

    By Poisson's summation formula, the error of the trapezoidal rule is exp(-2 (pi deviation / step)^2).
    """
    step = np.floor(std / _NODES_PER_DEVIATION)
    log_mean = np.log(mean)
    first = np.floor(mean - _REACH * std)
    terms = np.zeros_like(mean)
    if a.size == 0:
        return terms
    nodes = int(np.ceil(2 * _REACH * (std / step).max())) + 1
    for node in range(nodes):
        count = first + node * step
        terms += np.exp(log_hypergeometric(count, a, b, rows)) * _deviance(count, mean, log_mean)
    return terms * step


def _deviance(count: Floats, mean: Floats, log_mean: Floats) -> Any:
    """Returns n ln(n/mean) - (n - mean): the same expectation as n ln(n/mean), but all terms are positive."""
    return count * (np.log(np.maximum(count, 1.0)) - log_mean) - (count - mean)
