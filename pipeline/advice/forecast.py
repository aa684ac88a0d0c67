"""The forecast: which share of what labels would add a clustering is expected to add to self-supervision."""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.advice.predictors import Predictors
from pipeline.statistics.intervals import Interval

HALF_WIDTH = 0.41
"""Half of the width of the 90 % interval of a forecast. `benchmarks/advice.py` measures it on studies."""
RESOLUTION = 0.1
"""Difference of two scores below which no study could tell the clusterings apart."""
LARGEST_STD = 1.0
"""Of a gain; where too few labels give none, the interval is wider than the scale."""
NORMAL_90 = 1.6448536269514722
"""The two-sided 90 % quantile of the normal distribution."""


def score_of(predictors: Predictors) -> float:
    """Returns the value by which candidates are ranked: 0 for self-supervision, 1 for labels.

    Weights that are fitted to studies predict others no better than the plain mean (docs/advice.md).
    `information` is left out: it is far below 0 for single images, which learn as in self-supervision.
    """
    return (predictors.batch_information + predictors.pairs + predictors.alignment) / 3


def gain_of(scores: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the expected gain, as a share of what labels add.

    The first bits of a clustering give more than the last: in studies, gains rise as the root of the score.
    """
    gains: NDArray[np.float64] = np.copysign(np.sqrt(np.abs(scores)), scores)
    return gains


def forecast(score: float, sampling_std: float) -> Interval:
    """Returns the gain with its 90 % interval; `sampling_std` is its deviation by the sample of labels."""
    gain = float(gain_of(score))
    half = math.hypot(HALF_WIDTH, NORMAL_90 * min(sampling_std, LARGEST_STD))
    return Interval(gain, gain - half, gain + half)
