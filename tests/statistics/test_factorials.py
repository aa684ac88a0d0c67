import math

import numpy as np
import pytest

from pipeline.statistics.factorials import log_hypergeometric, stirling_remainder


def exact_log_hypergeometric(overlap: int, first: int, second: int, total: int) -> float:
    """By whole numbers of any length."""
    ways = math.comb(first, overlap) * math.comb(total - first, second - overlap)
    return math.log(ways) - math.log(math.comb(total, second))


@pytest.mark.parametrize("n", [0, 1, 2, 31, 32, 33, 100, 5000])
def test_the_remainder_completes_the_stirling_part(n: int) -> None:
    stirling = n * math.log(n) - n if n else 0.0
    assert float(stirling_remainder(n)) == pytest.approx(math.lgamma(n + 1) - stirling, abs=1e-10)


def test_probabilities_of_all_overlaps_sum_to_one() -> None:
    overlaps = np.arange(0, 60)
    assert np.exp(log_hypergeometric(overlaps, 50, 200, 1000)).sum() == pytest.approx(1.0, abs=1e-13)


@pytest.mark.parametrize(
    ("overlap", "first", "second", "total"),
    [
        (0, 0, 3, 10),
        (3, 3, 3, 3),
        (2, 3, 4, 10),
        (100, 10_000, 10_000, 1_000_000),
        (170, 10_000, 10_000, 1_000_000),
        (0, 100, 127, 10_000_000),
    ],
)
def test_no_digit_is_lost_in_large_totals(overlap: int, first: int, second: int, total: int) -> None:
    expected = exact_log_hypergeometric(overlap, first, second, total)
    # The reference's own rounding: the logarithm of a huge whole number, correct to one part in 1e16.
    rounding = 4e-16 * math.log(math.comb(total, second))
    assert float(log_hypergeometric(overlap, first, second, total)) == pytest.approx(
        expected, abs=max(1e-12, rounding)
    )


def test_impossible_overlaps_have_no_probability() -> None:
    impossible = log_hypergeometric(np.array([-1, 4, 0]), np.array([3, 3, 8]), np.array([4, 4, 4]), 10)
    assert np.array_equal(impossible, np.full(3, -np.inf))
