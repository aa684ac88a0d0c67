"""Intervals: against brute force, and where they must not be trusted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from pipeline.statistics.intervals import (
    Z_95,
    paired_difference,
    score_interval,
    share_closed,
    wilson_interval,
)

Z = 1.96


def drawn(
    shares: dict[tuple[bool, bool, bool], float], images: int, generator: np.random.Generator
) -> list[np.ndarray]:
    """Correctness of three arms over `images`, from the probabilities of its eight patterns."""
    patterns = np.array(list(shares), dtype=bool)
    picked = patterns[generator.choice(len(patterns), size=images, p=list(shares.values()))]
    return [picked[:, arm] for arm in range(3)]


POPULATION = {
    (True, True, True): 0.55,
    (True, False, True): 0.12,
    (False, True, True): 0.03,
    (False, False, True): 0.08,
    (True, True, False): 0.02,
    (True, False, False): 0.03,
    (False, True, False): 0.01,
    (False, False, False): 0.16,
}
"""Chosen, floor, ceiling: accuracies .72, .61, .78, so .11 of a gap of .17 is closed."""


def test_difference_is_that_of_the_accuracies() -> None:
    first, second = np.array([True] * 7 + [False] * 3), np.array([True] * 4 + [False] * 6)
    assert paired_difference(first, second).estimate == pytest.approx(0.3)


def test_difference_by_hand() -> None:
    """b = 12, c = 4 of 100: Agresti and Min's interval from their formula, digit by digit."""
    first = np.array([True] * 12 + [False] * 4 + [True] * 84)
    second = np.array([False] * 12 + [True] * 4 + [True] * 84)
    found = paired_difference(first, second)
    centre = (12.5 - 4.5) / 102
    spread = ((12.5 + 4.5 - 8.0**2 / 102) ** 0.5) / 102
    assert (found.low, found.high) == pytest.approx((centre - Z * spread, centre + Z * spread), abs=1e-4)


def test_pairing_narrows_the_interval() -> None:
    """The same accuracies: shared mistakes leave less doubt than separate ones."""
    generator = np.random.default_rng(0)
    first, second = np.arange(400) < 300, np.arange(400) < 280
    together, apart = (
        paired_difference(first, second),
        paired_difference(first, generator.permutation(second)),
    )
    assert together.estimate == pytest.approx(apart.estimate)
    assert together.high - together.low < 0.5 * (apart.high - apart.low)
    assert together.above_zero
    assert not apart.above_zero


@pytest.mark.parametrize("images", [1, 50])
def test_equal_arms_are_never_different(images: int) -> None:
    same = np.ones(images, dtype=bool)
    found = paired_difference(same, same)
    assert found.low < 0 == found.estimate < found.high
    assert not found.above_zero
    assert not found.below_zero


def test_difference_covers_the_population() -> None:
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        chosen, floor, _ = drawn(POPULATION, 300, generator)
        found = paired_difference(chosen, floor)
        held += found.low <= 0.11 <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_share_covers_the_population() -> None:
    generator = np.random.default_rng(2)
    held = defined = 0
    for _ in range(400):
        found = share_closed(*drawn(POPULATION, 600, generator))
        if found is not None:
            defined += 1
            held += found.low <= 0.11 / 0.17 <= found.high
    assert defined > 390
    assert 0.92 <= held / defined <= 0.98


def test_share_is_the_ratio_of_the_differences() -> None:
    chosen, floor, ceiling = drawn(POPULATION, 2000, np.random.default_rng(3))
    found = share_closed(chosen, floor, ceiling)
    assert found is not None
    assert found.estimate == pytest.approx((chosen.mean() - floor.mean()) / (ceiling.mean() - floor.mean()))
    assert found.low < found.estimate < found.high


@pytest.mark.parametrize("extra", [0, 1, -30])
def test_no_share_of_a_gap_that_may_be_none(extra: int) -> None:
    floor = np.arange(200) < 100
    ceiling = np.arange(200) < 100 + extra
    assert share_closed(floor, floor, ceiling) is None


def test_the_ceiling_itself_closes_all_of_it() -> None:
    floor, ceiling = np.arange(200) < 100, np.arange(200) < 140
    found = share_closed(ceiling, floor, ceiling)
    assert found is not None
    assert (found.estimate, found.low, found.high) == pytest.approx((1, 1, 1))


def test_the_quantile_is_that_of_the_normal_distribution() -> None:
    assert norm.ppf(0.975) == pytest.approx(Z_95, abs=1e-14)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_s_interval_is_scipy_s(counts: tuple[int, int]) -> None:
    expected = binomtest(*counts).proportion_ci(method="wilson")
    interval = wilson_interval(*counts)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert interval.estimate == counts[0] / counts[1]


@given(st.floats(-5, 5), st.floats(0, 5), st.floats(0, 2))
def test_the_ends_of_a_score_interval_are_as_far_as_the_deviation_there_allows(
    estimate: float, variance: float, slope: float
) -> None:
    interval = score_interval(estimate, variance, slope)
    for end in (interval.low, interval.high):
        assert (end - estimate) ** 2 == pytest.approx(
            Z_95**2 * (variance + slope * (end - estimate)), abs=1e-9
        )


@pytest.mark.parametrize("count", [0, 1, 7, 100])
def test_with_a_poisson_count_it_is_the_score_interval_of_its_mean(count: int) -> None:
    """The means m with |count - m| <= 1.96 sqrt(m)."""
    interval = score_interval(count, count, 1)
    for mean in (interval.low, interval.high):
        assert abs(count - mean) == pytest.approx(Z_95 * mean**0.5, abs=1e-9)


def test_without_slope_a_score_interval_is_the_normal_one() -> None:
    interval = score_interval(3.0, 4.0, 0.0)
    assert (interval.low, interval.high) == pytest.approx((3 - 2 * Z_95, 3 + 2 * Z_95))
