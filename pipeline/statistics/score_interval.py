"""An interval around an estimate whose variance grows with the value that it estimates."""

from dataclasses import dataclass

_NORMAL_QUANTILE = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


def score_interval(estimate: float, variance: float, slope: float) -> Interval:
    """All x with (x - estimate)^2 <= 1.96^2 (variance + slope (x - estimate)): 95 %, as Wilson's (1927).

    `variance` is that of the estimate where it stands, and `slope` by how much it grows with the true value.
    A small estimate has a small variance by the same luck, so that `estimate` plus or minus 1.96 deviations
    would end too low too often.
    """
    shift = _NORMAL_QUANTILE**2 * slope / 2
    reach = (_NORMAL_QUANTILE**2 * variance + shift**2) ** 0.5
    return Interval(estimate + shift - reach, estimate + shift + reach)
