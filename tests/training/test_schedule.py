import math
from itertools import pairwise

import pytest

from pipeline.training.schedule import learning_rate_at


def test_it_rises_linearly_and_falls_as_a_cosine() -> None:
    rates = [learning_rate_at(step, 100, 2.0, 0.2) for step in range(100)]
    assert rates[:20] == pytest.approx([2.0 * (step + 1) / 20 for step in range(20)])
    assert rates[20] == 2.0
    assert rates[60] == pytest.approx(0.002 + 1.998 * (1 + math.cos(math.pi / 2)) / 2)
    assert all(before > after for before, after in pairwise(rates[20:]))
    assert 0.002 < rates[-1] < 0.01


def test_without_warm_up_it_starts_at_the_peak() -> None:
    assert learning_rate_at(0, 10, 0.5, 0.0) == 0.5
    assert learning_rate_at(0, 1, 0.5, 0.9) == 0.5
