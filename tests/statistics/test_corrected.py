"""The correction against the plug-in estimate on samples of distributions whose information is known.

`benchmarks/statistics.py estimators` prints the errors for each distribution and for other estimators.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_distributions import of_other_shapes, of_posts, true_information_bits
from numpy.typing import NDArray

from pipeline.statistics.contingency import Contingency
from pipeline.statistics.corrected import corrected_entropy_bits, corrected_information
from pipeline.statistics.information import Information

SAMPLES = 10


def entropy_by_the_paper(counts: list[int]) -> float:
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
        return seen / math.log(2)
    series = sum((1 - share) ** r / r for r in range(1, rows))
    unseen = once / rows * (1 - share) ** (1 - rows) * (-math.log(share) - series)
    return (seen + unseen) / math.log(2)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12))
def test_entropy_equals_the_papers_formula(counts: list[int]) -> None:
    assert corrected_entropy_bits(np.array(counts)) == pytest.approx(entropy_by_the_paper(counts), abs=1e-8)


def mean_errors_bits(joint_KL: NDArray[np.float64], rows: int) -> tuple[float, float]:
    """(plug-in, corrected): the mean absolute errors over samples of so many rows."""
    generator = np.random.default_rng(rows)
    truth = true_information_bits(joint_KL)
    errors = []
    for _ in range(SAMPLES):
        drawn = generator.multinomial(rows, joint_KL.ravel()).reshape(joint_KL.shape)
        table = Contingency.of_table(drawn)
        plug_in_bits = Information(table).mutual_information_bits
        corrected_bits = corrected_information(table).mutual_information_bits
        errors.append((abs(plug_in_bits - truth), abs(corrected_bits - truth)))
    plug_in, corrected = np.mean(errors, axis=0)
    return float(plug_in), float(corrected)


@pytest.mark.parametrize("rows", [1_000, 4_000, 16_000])
def test_correction_beats_plug_in_on_the_synthetic_posts(rows: int) -> None:
    errors = [mean_errors_bits(joint_KL, rows) for joint_KL in of_posts().values()]
    for plug_in, corrected in errors:
        # Where the table is full both are at the sampling error, and neither can win by more than noise.
        assert corrected <= plug_in + 0.003
    plug_in, corrected = np.mean(errors, axis=0)
    assert corrected < 0.6 * plug_in


@pytest.mark.parametrize("rows", [1_000, 4_000, 16_000])
def test_correction_beats_plug_in_on_other_shapes(rows: int) -> None:
    errors = [mean_errors_bits(joint_KL, rows) for joint_KL in of_other_shapes().values()]
    plug_in, corrected = np.mean(errors, axis=0)
    assert corrected < 0.4 * plug_in


@pytest.mark.parametrize("rows", [1_000, 16_000])
def test_independent_clusters_have_next_to_no_corrected_information(rows: int) -> None:
    plug_in, corrected = mean_errors_bits(of_other_shapes()["independent, 50 x 10"], rows)
    assert corrected < 0.06 * plug_in


def test_estimates_lie_where_information_can_lie() -> None:
    generator = np.random.default_rng(1)
    for _ in range(50):
        codes = generator.integers(0, 9, (2, 12))
        table = Contingency.of_codes(codes[0], codes[1])
        estimate = corrected_information(table)
        assert 0 <= estimate.mutual_information_bits <= corrected_entropy_bits(table.label_sizes_L) + 1e-12
        assert estimate.conditional_entropy_bits >= 0
