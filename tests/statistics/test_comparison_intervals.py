"""Intervals: against brute force, and where they must not be trusted."""

import numpy as np
import pytest

from pipeline.statistics.comparison_intervals import paired_difference, share_closed

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


def test_difference_is_that_of_the_accuracies():
    first, second = np.array([True] * 7 + [False] * 3), np.array([True] * 4 + [False] * 6)
    assert paired_difference(first, second).estimate == pytest.approx(0.3)


def test_difference_by_hand():
    """b = 12, c = 4 of 100: Agresti and Min's interval from their formula, digit by digit."""
    first = np.array([True] * 12 + [False] * 4 + [True] * 84)
    second = np.array([False] * 12 + [True] * 4 + [True] * 84)
    found = paired_difference(first, second)
    centre = (12.5 - 4.5) / 102
    spread = ((12.5 + 4.5 - 8.0**2 / 102) ** 0.5) / 102
    assert (found.low, found.high) == pytest.approx((centre - Z * spread, centre + Z * spread), abs=1e-4)


def test_pairing_narrows_the_interval():
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
def test_equal_arms_are_never_different(images: int):
    same = np.ones(images, dtype=bool)
    found = paired_difference(same, same)
    assert found.low < 0 == found.estimate < found.high
    assert not found.above_zero
    assert not found.below_zero


def test_difference_covers_the_population():
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        chosen, floor, _ = drawn(POPULATION, 300, generator)
        found = paired_difference(chosen, floor)
        held += found.low <= 0.11 <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_share_covers_the_population():
    generator = np.random.default_rng(2)
    held = defined = 0
    for _ in range(400):
        found = share_closed(*drawn(POPULATION, 600, generator))
        if found is not None:
            defined += 1
            held += found.low <= 0.11 / 0.17 <= found.high
    assert defined > 390
    assert 0.92 <= held / defined <= 0.98


def test_share_is_the_ratio_of_the_differences():
    chosen, floor, ceiling = drawn(POPULATION, 2000, np.random.default_rng(3))
    found = share_closed(chosen, floor, ceiling)
    assert found is not None
    assert found.estimate == pytest.approx((chosen.mean() - floor.mean()) / (ceiling.mean() - floor.mean()))
    assert found.low < found.estimate < found.high


@pytest.mark.parametrize("extra", [0, 1, -30])
def test_no_share_of_a_gap_that_may_be_none(extra: int):
    floor = np.arange(200) < 100
    ceiling = np.arange(200) < 100 + extra
    assert share_closed(floor, floor, ceiling) is None


def test_the_ceiling_itself_closes_all_of_it():
    floor, ceiling = np.arange(200) < 100, np.arange(200) < 140
    found = share_closed(ceiling, floor, ceiling)
    assert found is not None
    assert (found.estimate, found.low, found.high) == pytest.approx((1, 1, 1))
