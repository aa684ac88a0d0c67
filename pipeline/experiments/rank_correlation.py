"""Rank correlation between a statistic and the accuracies of experiments."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import atanh, sqrt, tanh

import numpy as np
import pandas as pd

from pipeline.statistics.intervals import Z_95

LEAST_POINTS = 4


@dataclass(frozen=True)
class RankCorrelation:
    points: int
    rho: float
    low: float | None
    high: float | None
    """95 % interval; None if the order is perfect, where the formula has no width."""


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> RankCorrelation | None:
    """Returns Spearman's rho, with mean ranks for ties.

    The interval is that of Bonett and Wright (2000, Psychometrika 65). Returns None for fewer than
    `LEAST_POINTS` points, or if all values of one side are equal.
    """
    assert len(x) == len(y), "pairs"
    if len(x) < LEAST_POINTS or len(set(x)) == 1 or len(set(y)) == 1:
        return None
    ranks_x, ranks_y = (pd.Series(values, dtype=float).rank().to_numpy() for values in (x, y))
    rho = float(np.clip(np.corrcoef(ranks_x, ranks_y)[0, 1], -1.0, 1.0))
    if 1 - abs(rho) < 1e-12:
        return RankCorrelation(len(x), round(rho), None, None)
    half_width = Z_95 * sqrt((1 + rho**2 / 2) / (len(x) - 3))
    return RankCorrelation(len(x), rho, tanh(atanh(rho) - half_width), tanh(atanh(rho) + half_width))
