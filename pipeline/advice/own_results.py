"""Forecasts of accuracies on images on which some candidates have been trained.

Shape letters: M trained clusterings, with the references; K candidates.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from pipeline.advice.forecast import HALF_WIDTH, NORMAL_90
from pipeline.statistics.intervals import Interval

PRIOR_TRAININGS = 4
"""Weight of what forecasts missed in studies, against what they miss on these images."""
LEAST_SPAN = 0.3
"""Difference of the gains of the trained clusterings below which no line through them is known."""
LEAST_GAP = 0.01
"""Top-1 that the labels' gain is worth below which a share of it is noise."""


def accuracy_forecasts(
    gains_M: Sequence[float], top1_M: Sequence[float], variance: float, gains_K: Sequence[float]
) -> list[Interval] | None:
    """Returns the top-1 of each candidate with its 90 % interval, as fractions.

    A line through the trained clusterings, by least squares, says what a gain is worth here. What they miss
    it by is pooled with what forecasts missed in studies (a scaled inverse chi-squared prior: Gelman et al.,
    "Bayesian data analysis", 2013, section 14.8). `variance` is that of an accuracy by the sample of test
    images. None if the trained clusterings are too much alike, or no better where the gain is more.
    """
    gains = np.asarray(gains_M, np.float64)
    if len(gains) < 2 or np.ptp(gains) < LEAST_SPAN:
        return None
    design_M2 = np.stack([np.ones_like(gains), gains], axis=1)
    line_2, *_ = np.linalg.lstsq(design_M2, np.asarray(top1_M, np.float64))
    gap = float(line_2[1])
    if gap < LEAST_GAP:
        return None
    missed = np.asarray(top1_M) - design_M2 @ line_2
    expected = (HALF_WIDTH / NORMAL_90 * gap) ** 2 + variance
    trainings = PRIOR_TRAININGS + len(gains) - 2
    spread = (PRIOR_TRAININGS * expected + float(missed @ missed)) / trainings
    wanted_K2 = np.stack([np.ones(len(gains_K)), np.asarray(gains_K, np.float64)], axis=1)
    covariance_22 = np.linalg.inv(design_M2.T @ design_M2)
    of_line_K = np.einsum("ki,ij,kj->k", wanted_K2, covariance_22, wanted_K2)
    half_K = stdtrit(trainings, 0.95) * np.sqrt(spread * (1 + of_line_K))
    return [
        Interval(float(top1), float(max(0.0, top1 - half)), float(min(1.0, top1 + half)))
        for top1, half in zip(wanted_K2 @ line_2, half_K, strict=True)
    ]
