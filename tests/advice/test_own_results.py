"""Forecasts of accuracies from trainings on the same images."""

import numpy as np
import pytest

from pipeline.advice.own_results import PRIOR_TRAININGS, accuracy_forecasts


def test_exact_results_give_the_line() -> None:
    forecasts = accuracy_forecasts([0, 1, 0.5], [0.4, 0.8, 0.6], 0.0, [0.25, 0.75, 0.0])
    assert forecasts is not None
    assert [one.estimate for one in forecasts] == pytest.approx([0.5, 0.7, 0.4])
    assert all(one.low < one.estimate < one.high for one in forecasts)


def test_trainings_narrow_the_interval_and_misses_widen_it() -> None:
    def width(gains: list[float], top1: list[float], variance: float = 0.0) -> float:
        forecasts = accuracy_forecasts(gains, top1, variance, [0.5])
        assert forecasts is not None
        return forecasts[0].high - forecasts[0].low

    gains = np.linspace(0, 1, 8)
    few = width([0, 1], [0.4, 0.8])
    assert width(list(gains), list(0.4 + 0.4 * gains)) < few
    assert width(list(gains), list(0.4 + 0.4 * gains + 0.2 * np.sign(np.sin(9 * gains)))) > few
    assert width([0, 1], [0.4, 0.8], variance=0.01) > few


@pytest.mark.parametrize("missed", [0.05, 0.1, 0.3])
def test_nine_of_ten_intervals_hold(missed: float) -> None:
    """Where trainings miss the line by a normal deviation: most, if it is that of studies, which is .25."""
    generator = np.random.default_rng(0)
    held = []
    for _ in range(2000):
        gains = generator.random(9)
        top1 = 0.4 + 0.4 * (gains + missed * generator.normal(size=9))
        forecasts = accuracy_forecasts(list(gains[:8]), list(top1[:8]), 0.0, [gains[8]])
        if forecasts is not None:
            held.append(forecasts[0].low <= top1[8] <= forecasts[0].high)
    assert len(held) > 1500
    assert np.mean(held) > 0.85


@pytest.mark.parametrize(
    ("gains", "top1"),
    [([], []), ([0.5], [0.5]), ([0.5, 0.6], [0.4, 0.5]), ([0, 1], [0.6, 0.5]), ([0, 1, 0.5], [0.5] * 3)],
)
def test_nothing_is_told_by_too_few_or_by_labels_that_add_nothing(
    gains: list[float], top1: list[float]
) -> None:
    assert accuracy_forecasts(gains, top1, 0.0, [0.5]) is None


def test_accuracies_stay_within_their_scale() -> None:
    forecasts = accuracy_forecasts([0, 1], [0.05, 0.99], 0.0, [0.0, 1.0])
    assert forecasts is not None
    assert all(one.low >= 0 and one.high <= 1 for one in forecasts)
    assert PRIOR_TRAININGS > 2, "its mean exists"
