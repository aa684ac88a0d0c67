"""How far the corrected estimates would move with another sample of the same size."""

from dataclasses import dataclass

import numpy as np

from pipeline.randomness import numpy_generator
from pipeline.statistics.contingency import Contingency, Counts
from pipeline.statistics.corrected import CorrectedInformation, corrected_information

MOST_REPLICATES, FEWEST_REPLICATES = 100, 16
_DRAWS = 10_000_000
"""Cells drawn in all: large tables get fewer replicates."""
_MULTINOMIAL_CELLS = 1_000_000
_NORMAL_QUANTILE = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CorrectedWithIntervals:
    estimate: CorrectedInformation
    mutual_information_bits: Interval
    conditional_entropy_bits: Interval
    replicates: int


def corrected_with_intervals(table: Contingency, seed: int) -> CorrectedWithIntervals:
    """The corrected estimates of `table` (at least one row) and 95 % bootstrap intervals around them.

    The interval is the estimate plus or minus 1.96 standard deviations over the replicates. Percentiles of
    the replicates would lie beside the truth: a resample sees fewer distinct cells than its sample, so all
    replicates share a bias that the estimate has not (`tests/statistics/test_bootstrap.py` measures both).
    The interval tells the error of sampling; a bias that the correction leaves is not in it.
    """
    estimate = corrected_information(table)
    replicates = int(np.clip(_DRAWS // table.counts_C.size, FEWEST_REPLICATES, MOST_REPLICATES))
    generator = numpy_generator(seed, "statistics", "bootstrap")
    drawn = [corrected_information(_resampled(table, generator)) for _ in range(replicates)]
    return CorrectedWithIntervals(
        estimate,
        _around(estimate.mutual_information_bits, [one.mutual_information_bits for one in drawn]),
        _around(estimate.conditional_entropy_bits, [one.conditional_entropy_bits for one in drawn]),
        replicates,
    )


def _around(estimate: float, drawn: list[float]) -> Interval:
    reach = _NORMAL_QUANTILE * float(np.std(drawn, ddof=1))
    return Interval(max(0.0, estimate - reach), estimate + reach)


def _resampled(table: Contingency, generator: np.random.Generator) -> Contingency:
    return table.with_counts(_drawn_counts(table.counts_C, generator))


def _drawn_counts(counts_C: Counts, generator: np.random.Generator) -> Counts:
    if counts_C.size <= _MULTINOMIAL_CELLS:
        rows = int(counts_C.sum())
        return generator.multinomial(rows, counts_C / rows)
    # Counts independent of each other: the total varies by a part in a thousand, which no entropy feels,
    # and a large table is drawn three times as fast (the Poisson bootstrap, Hanley and MacGibbon 2006).
    return generator.poisson(counts_C)
