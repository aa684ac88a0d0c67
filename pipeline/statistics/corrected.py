"""I(Z;T) and H(Z|T) of a population, estimated from an incomplete sample.

Plug-in information is biased upwards if clusters are many and small, because most cells of the joint table
are seen once or never. Of the published estimators that were compared on known distributions (Miller 1955,
Grassberger 2003, Chao and Shen 2003, Chao, Wang and Jost 2013), the last has the smallest mean error at every
sample size (`benchmarks/estimators.py`). Its remaining bias falls approximately as 1/N, so it is estimated
from half of the rows and subtracted (Richardson's extrapolation). `benchmarks/intervals.py` prints how often
the intervals cover the true value, with and without this step.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from pipeline.statistics.chao_wang_jost import (
    Floats,
    entropies_without_a_row_nats,
    entropy_nats,
    entropy_of_half_nats,
)
from pipeline.statistics.contingency import Codes, Contingency, Counts
from pipeline.statistics.entropy import entropy_bits, sizes_and_times
from pipeline.statistics.intervals import Interval, score_interval

ESTIMATOR = "chao_wang_jost_2013_extrapolated"

LEAST_ROWS = 100
LEAST_COVERAGE = 0.9
MOST_CELLS_SEEN_ONCE = 0.6
"""Maximum share of the observed cells. More are typical of a power law, whose tail no sample shows."""
DOUBT_IN_CORRECTION = 0.4
"""Standard deviation of the remaining bias, as a share of the bias that was subtracted."""


@dataclass(frozen=True, slots=True)
class CorrectedInformation:
    """Estimates for the population, in bits."""

    mutual_information: Interval
    conditional_entropy: Interval
    """H(Z|T)."""


def joint_coverage(table: Contingency) -> float:
    """Returns 1 - (cells seen once) / rows: the share of the population whose cell was seen (Good 1953)."""
    return 1 - _cells_seen_once(table) / table.rows


def is_covered(table: Contingency) -> bool:
    """Returns whether the sample covers enough of its population to trust `corrected_information`."""
    is_power_law = _cells_seen_once(table) > MOST_CELLS_SEEN_ONCE * table.counts_C.size
    return table.rows >= LEAST_ROWS and joint_coverage(table) >= LEAST_COVERAGE and not is_power_law


def corrected_information(table: Contingency) -> CorrectedInformation:
    """Estimates I = H(Z) + H(T) - H(Z,T) and H(Z|T) = H(Z,T) - H(T), from a table of at least two rows.

    Both are clipped to their possible range. The estimate of I exceeds neither entropy of the sample; its
    interval may, because the population's entropies are larger.
    """
    counts_C, rows = table.counts_C, table.rows
    clusters = Sampled.entropy(table.cluster_sizes_K, table.clusters_C)
    labels = Sampled.entropy(table.label_sizes_L, table.labels_C)
    joint = Sampled.entropy(counts_C, np.arange(counts_C.size))
    mutual, conditional = clusters + labels - joint, joint - labels
    # Near independence, 2 N I in nats is noncentral chi-squared, whose variance grows by 4 per unit. A row in
    # an unseen cell adds about log2(N) / N bits to H(Z|T).
    mutual_slope, conditional_slope = 2 / rows / math.log(2), math.log2(rows) / rows
    most_mutual = min(clusters.extrapolated, labels.extrapolated)
    most_seen = min(entropy_bits(table.cluster_sizes_K), entropy_bits(table.label_sizes_L))
    return CorrectedInformation(
        _estimate(mutual, counts_C, mutual_slope, most_mutual, most_seen),
        _estimate(conditional, counts_C, conditional_slope, clusters.extrapolated, clusters.extrapolated),
    )


@dataclass(frozen=True, slots=True)
class Sampled:
    """An entropy, or a sum of entropies, in bits: from all rows, from half of them, and from all but one."""

    all_rows: float
    half: float
    without_row_C: Floats
    """Estimate without one row of each cell of the joint table."""

    @classmethod
    def entropy(cls, counts_V: Counts, values_C: Codes) -> Self:
        """Estimates an entropy from the values' counts, and the value of each cell of the joint table."""
        sizes_S, times_S = sizes_and_times(counts_V)
        without_row_S = entropies_without_a_row_nats(sizes_S, times_S) / math.log(2)
        without_row_V = without_row_S[np.searchsorted(sizes_S, counts_V)]
        return cls(
            entropy_nats(sizes_S, times_S) / math.log(2),
            entropy_of_half_nats(sizes_S, times_S) / math.log(2),
            without_row_V[values_C],
        )

    def __add__(self, other: Self) -> Self:
        return self._plus(other, 1)

    def __sub__(self, other: Self) -> Self:
        return self._plus(other, -1)

    def _plus(self, other: Self, sign: int) -> Self:
        return type(self)(
            self.all_rows + sign * other.all_rows,
            self.half + sign * other.half,
            self.without_row_C + sign * other.without_row_C,
        )

    @property
    def bias(self) -> float:
        """Bias that is subtracted: if it falls as 1/N, half of the rows have twice the bias of all rows."""
        return self.half - self.all_rows

    @property
    def extrapolated(self) -> float:
        return self.all_rows - self.bias

    def jackknife_variance(self, counts_C: Counts) -> float:
        """Returns the variance of `all_rows`, from leaving out each row in turn (Efron and Stein 1981).

        The same computation for `extrapolated` would overestimate, because leaving out one row changes the
        estimated bias in jumps. The variance of `all_rows` is right on average in simulations.
        """
        rows = int(counts_C.sum())
        mean = float(counts_C @ self.without_row_C) / rows
        return (rows - 1) / rows * float(counts_C @ (self.without_row_C - mean) ** 2)


def _estimate(
    sampled: Sampled, counts_C: Counts, steepest: float, most: float, most_shown: float
) -> Interval:
    """Returns an interval around a value from 0 to `most`; the estimate itself is at most `most_shown`."""
    centre = max(0.0, min(sampled.extrapolated, most))
    bits = min(centre, most_shown)
    of_sampling = sampled.jackknife_variance(counts_C)
    slope = min(steepest, of_sampling / centre) if centre > 0 else steepest
    interval = score_interval(centre, of_sampling + (DOUBT_IN_CORRECTION * sampled.bias) ** 2, slope)
    return Interval(bits, max(0.0, min(interval.low, bits)), interval.high)


def _cells_seen_once(table: Contingency) -> int:
    return int(np.count_nonzero(table.counts_C == 1))
