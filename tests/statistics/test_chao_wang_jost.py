import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad

from pipeline.statistics.chao_wang_jost import (
    entropies_without_a_row_nats,
    entropy_nats,
    entropy_of_half_nats,
)
from pipeline.statistics.entropy import sizes_and_times

COUNTS = st.lists(st.integers(1, 12), min_size=1, max_size=12)


def by_the_paper(counts: list[int]) -> float:
    """Equation 7 of Chao, Wang and Jost (2013), term by term."""
    rows, once, twice = sum(counts), counts.count(1), counts.count(2)
    seen = sum(count / rows * sum(1 / k for k in range(count, rows)) for count in counts)
    if once == 0:
        share = 1.0
    elif twice > 0:
        share = 2 * twice / ((rows - 1) * once + 2 * twice)
    else:
        share = 2 / ((rows - 1) * (once - 1) + 2)
    if share == 1.0:
        return seen
    series = sum((1 - share) ** r / r for r in range(1, rows))
    return seen + once / rows * (1 - share) ** (1 - rows) * (-math.log(share) - series)


def estimate(counts: list[int] | NDArray[np.int64]) -> float:
    return entropy_nats(*sizes_and_times(np.array(counts)))


@given(COUNTS)
def test_it_is_the_papers_formula(counts: list[int]) -> None:
    assert estimate(counts) == pytest.approx(by_the_paper(counts), abs=1e-8)


@given(COUNTS.filter(lambda counts: sum(counts) > 1))
def test_without_a_row_it_is_the_papers_formula_for_the_other_rows(counts: list[int]) -> None:
    sizes_S, times_S = sizes_and_times(np.array(counts))
    without_row_S = entropies_without_a_row_nats(sizes_S, times_S)
    for size, entropy in zip(sizes_S.tolist(), without_row_S, strict=True):
        others = Counter(counts) - Counter([size])
        if size > 1:
            others[size - 1] += 1
        assert entropy == pytest.approx(by_the_paper(list(others.elements())), abs=1e-7)


def test_the_slope_beyond_half_of_the_rows_is_an_integral() -> None:
    """With all counts alike and above 2, next to nothing is seen once or twice in a half, or in the whole."""
    for count in (40, 60, 64, 65, 200):
        counts = np.full(5, count)
        integral, _ = quad(lambda u, n=count: (1 - u) ** (n - 1) / u, 0.5, 1)
        gained = estimate(counts) - entropy_of_half_nats(*sizes_and_times(counts))
        assert gained == pytest.approx(integral, abs=1e-8)


@pytest.mark.parametrize("concentration", [0.2, 0.6, 2.0])
def test_half_of_the_rows_give_what_random_halves_give_on_average(concentration: float) -> None:
    generator = np.random.default_rng(0)
    shares = generator.dirichlet(np.full(600, concentration))
    counts = generator.multinomial(1500, shares)
    halves = [estimate(generator.binomial(counts, 0.5)) for _ in range(300)]
    standard_error = float(np.std(halves)) / math.sqrt(300)
    of_half = entropy_of_half_nats(*sizes_and_times(counts))
    assert of_half == pytest.approx(np.mean(halves), abs=4 * standard_error + 0.002)
    assert abs(of_half - estimate(counts)) > 5 * standard_error, "else the test says nothing"
