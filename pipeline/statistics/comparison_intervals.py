"""How sure the differences between arms are: intervals over the test images, in closed form.

All arms are tested on the same images, so differences are paired: an image that is easy for both arms
adds nothing to the doubt, and the interval is narrower than that of two separate accuracies.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

Z_95 = 1.959963984540054
"""The two-sided 95 % quantile of the normal distribution."""

Correct = npt.NDArray[np.bool_]
"""Whether each of N test images was named rightly; arms share the order."""


@dataclass(frozen=True)
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


def paired_difference(first_N: Correct, second_N: Correct) -> Interval:
    """Accuracy of `first_N` minus that of `second_N`, a fraction, with its 95 % interval.

    The interval is the adjusted Wald interval for matched pairs of Agresti and Min (2005, Statistics in
    Medicine 24): half an image is added to each of the four cells, so that it keeps its coverage for
    small counts and never has width zero. It is widened to hold the estimate where it would not.
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
    """(chosen - floor) / (ceiling - floor) in accuracy, with its 95 % interval after Fieller (1954).

    None where the gap's own 95 % interval reaches zero: the ratio is then unbounded and says nothing.
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
