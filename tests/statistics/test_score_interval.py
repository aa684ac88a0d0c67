import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.statistics.score_interval import score_interval

Z = 1.959963984540054


@given(st.floats(-5, 5), st.floats(0, 5), st.floats(0, 2))
def test_its_ends_are_as_far_as_the_deviation_there_allows(
    estimate: float, variance: float, slope: float
) -> None:
    interval = score_interval(estimate, variance, slope)
    for end in (interval.low, interval.high):
        assert (end - estimate) ** 2 == pytest.approx(Z**2 * (variance + slope * (end - estimate)), abs=1e-9)


@pytest.mark.parametrize("count", [0, 1, 7, 100])
def test_with_a_poisson_count_it_is_the_score_interval_of_its_mean(count: int) -> None:
    """The means m with |count - m| <= 1.96 sqrt(m)."""
    interval = score_interval(count, count, 1)
    for mean in (interval.low, interval.high):
        assert abs(count - mean) == pytest.approx(Z * mean**0.5, abs=1e-9)


def test_without_slope_it_is_the_normal_one() -> None:
    interval = score_interval(3.0, 4.0, 0.0)
    assert (interval.low, interval.high) == pytest.approx((3 - 2 * Z, 3 + 2 * Z))
