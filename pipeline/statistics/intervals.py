"""95 % intervals in closed form: of a share, of the differences between arms, of an estimated quantity.

All arms are tested on the same images, so differences are paired: an image that is easy for both arms adds no
uncertainty, and the interval is narrower than that of two separate accuracies.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

Z_95 = 1.959963984540054
"""The two-sided 95 % quantile of the normal distribution."""

Correct = npt.NDArray[np.bool_]
"""Whether each of N test images was classified correctly; arms share the order."""


@dataclass(frozen=True, slots=True)
class Interval:
    estimate: float
    low: float
    high: float

    @property
    def above_zero(self) -> bool:
        return self.low > 0

    @property
    def below_zero(self) -> bool:
        return self.high < 0


def wilson_interval(successes: int, trials: int) -> Interval:
    """Returns the interval of a share (Wilson 1927), which stays within 0-1 and also holds for few trials.

    It accounts for the sampling of the test images, not for the variance between training seeds.
    """
    z = Z_95
    share = successes / trials
    center = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return Interval(share, max(0.0, center - half), min(1.0, center + half))


def score_interval(estimate: float, variance: float, slope: float) -> Interval:
    """Returns all x with (x - estimate)^2 <= 1.96^2 (variance + slope (x - estimate)), like Wilson's.

    `variance` is the variance at the estimate, and `slope` its increase per unit of the true value. An
    estimate that is small by chance also has a small variance, so `estimate` plus or minus 1.96 deviations
    would end too low too often.
    """
    shift = Z_95**2 * slope / 2
    reach = (Z_95**2 * variance + shift**2) ** 0.5
    return Interval(estimate, estimate + shift - reach, estimate + shift + reach)


def paired_difference(first_N: Correct, second_N: Correct) -> Interval:
    """Returns the accuracy of `first_N` minus that of `second_N`, as a fraction, with its 95 % interval.

    This is the adjusted Wald interval for matched pairs of Agresti and Min (2005, Statistics in Medicine 24):
    half an image is added to each of the four cells, so that it keeps its coverage for small counts and never
    has zero width. It is widened to include the estimate if necessary.
    """
    assert len(first_N) == len(second_N) > 0, "pairs of test images"
    only_first = int((first_N & ~second_N).sum()) + 0.5
    only_second = int((~first_N & second_N).sum()) + 0.5
    images = len(first_N) + 2
    estimate = float(first_N.mean() - second_N.mean())
    centre = (only_first - only_second) / images
    spread = sqrt(only_first + only_second - (only_first - only_second) ** 2 / images) / images
    low, high = centre - Z_95 * spread, centre + Z_95 * spread
    return Interval(estimate, max(-1.0, min(low, estimate)), min(1.0, max(high, estimate)))


def share_closed(chosen_N: Correct, floor_N: Correct, ceiling_N: Correct) -> Interval | None:
    """Returns (chosen - floor) / (ceiling - floor) in accuracy, with its 95 % interval after Fieller (1954).

    Returns None if the 95 % interval of the gap includes zero, because the ratio is then unbounded.
    """
    gain_N = chosen_N.astype(np.float64) - floor_N
    gap_N = ceiling_N.astype(np.float64) - floor_N
    gain, gap = float(gain_N.mean()), float(gap_N.mean())
    if len(gap_N) < 2 or not paired_difference(ceiling_N, floor_N).above_zero:
        return None
    (gain_variance, covariance), (_, gap_variance) = np.cov(gain_N, gap_N) / len(gap_N)
    # The ratios r with (gain - r gap)^2 <= z^2 Var(gain - r gap) lie between the roots of a r^2 - 2 b r + c.
    a = gap**2 - Z_95**2 * gap_variance
    b = gain * gap - Z_95**2 * covariance
    c = gain**2 - Z_95**2 * gain_variance
    if a <= 0:
        return None
    half_width = sqrt(max(b**2 - a * c, 0.0)) / a
    return Interval(gain / gap, b / a - half_width, b / a + half_width)
