"""The correction against the plug-in estimate on samples of distributions whose information is known.

`benchmarks/estimators.py` prints the errors for each distribution and for other estimators,
`benchmarks/intervals.py` how often intervals hold the truth.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from known_distributions import (
    Joint,
    of_large_tables,
    of_other_shapes,
    of_posts,
    of_small_tables,
    true_information_bits,
)
from pipeline.statistics.chao_wang_jost import entropy_nats, entropy_of_half_nats
from pipeline.statistics.contingency import Contingency
from pipeline.statistics.corrected import (
    corrected_information,
    is_covered,
    joint_coverage,
)
from pipeline.statistics.entropy import sizes_and_times
from pipeline.statistics.information import Information
from pipeline.statistics.intervals import score_interval

SAMPLES = 10
CODES = st.integers(min_value=0, max_value=4)
ROWS = st.lists(st.tuples(CODES, CODES), min_size=2, max_size=60)


def corrected_entropy_bits(counts: np.ndarray) -> float:
    """The entropy of the distribution that `counts` were drawn from; 0 for no rows."""
    sizes_S, times_S = sizes_and_times(counts)
    if sizes_S.size == 0:
        return 0.0
    return (2 * entropy_nats(sizes_S, times_S) - entropy_of_half_nats(sizes_S, times_S)) / math.log(2)


def sample(joint_KL: Joint, rows: int, generator: np.random.Generator) -> Contingency:
    return Contingency.of_table(generator.multinomial(rows, joint_KL.ravel()).reshape(joint_KL.shape))


def mean_errors_bits(joint_KL: Joint, rows: int) -> tuple[float, float]:
    """(plug-in, corrected): the mean absolute errors over samples of so many rows."""
    generator = np.random.default_rng(rows)
    truth = true_information_bits(joint_KL)
    errors = []
    for _ in range(SAMPLES):
        table = sample(joint_KL, rows, generator)
        plug_in_bits = Information(table).mutual_information_bits
        corrected_bits = corrected_information(table).mutual_information.estimate
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
    assert corrected < 0.5 * plug_in


@pytest.mark.parametrize("rows", [1_000, 4_000, 16_000])
def test_correction_beats_plug_in_on_other_shapes(rows: int) -> None:
    errors = [mean_errors_bits(joint_KL, rows) for joint_KL in of_other_shapes().values()]
    plug_in, corrected = np.mean(errors, axis=0)
    assert corrected < 0.3 * plug_in


@pytest.mark.parametrize("rows", [1_000, 16_000])
def test_independent_clusters_have_next_to_no_corrected_information(rows: int) -> None:
    plug_in, corrected = mean_errors_bits(of_other_shapes()["independent, 50 x 10"], rows)
    assert corrected < 0.06 * plug_in


def of_all_rows(table: Contingency) -> tuple[float, float]:
    clusters, labels, joint = (
        entropy_nats(*sizes_and_times(counts)) / math.log(2)
        for counts in (table.cluster_sizes_K, table.label_sizes_L, table.counts_C)
    )
    return clusters + labels - joint, joint - labels


def of_half(table: Contingency) -> tuple[float, float]:
    clusters, labels, joint = (
        entropy_of_half_nats(*sizes_and_times(counts)) / math.log(2)
        for counts in (table.cluster_sizes_K, table.label_sizes_L, table.counts_C)
    )
    return clusters + labels - joint, joint - labels


def jackknife_variances(rows: list[tuple[int, int]]) -> list[float]:
    """Of I and H(Z|T), from each table that lacks one row."""
    left = [of_all_rows(table_of(rows[:i] + rows[i + 1 :])) for i in range(len(rows))]
    return [float((len(rows) - 1) * np.var(statistic)) for statistic in zip(*left, strict=True)]


def table_of(rows: list[tuple[int, int]]) -> Contingency:
    return Contingency.of_codes(np.array([z for z, _ in rows]), np.array([t for _, t in rows]))


@given(ROWS)
def test_estimates_and_intervals_follow_from_all_rows_half_of_them_and_all_but_one(
    rows: list[tuple[int, int]],
) -> None:
    table, count = table_of(rows), len(rows)
    corrected = corrected_information(table)
    most = [corrected_entropy_bits(table.cluster_sizes_K), corrected_entropy_bits(table.label_sizes_L)]
    for found, whole, half, variance, steepest, limit in zip(
        (corrected.mutual_information, corrected.conditional_entropy),
        of_all_rows(table),
        of_half(table),
        jackknife_variances(rows),
        (2 / count / math.log(2), math.log2(count) / count),
        (min(most), most[0]),
        strict=True,
    ):
        centre = min(max(0.0, 2 * whole - half), limit)
        if 0 < centre < 1e-9 or 0 < variance < 1e-12:
            continue  # rounding decides the slope
        slope = min(steepest, variance / centre) if centre > 0 else steepest
        interval = score_interval(centre, variance + (0.4 * (half - whole)) ** 2, slope)
        assert found.high == pytest.approx(interval.high, abs=1e-6)
        assert found.low == pytest.approx(max(0.0, min(interval.low, found.estimate)), abs=1e-6)
        assert found.estimate <= centre + 1e-9


@given(ROWS)
def test_estimates_lie_where_information_can_lie(rows: list[tuple[int, int]]) -> None:
    """Beside the H(T) that is shown no I may stand that exceeds it, however few the rows are."""
    table = table_of(rows)
    plug_in, corrected = Information(table), corrected_information(table)
    mutual, conditional = corrected.mutual_information, corrected.conditional_entropy
    assert 0 <= mutual.estimate <= min(plug_in.label_entropy_bits, plug_in.cluster_entropy_bits)
    assert 0 <= conditional.estimate <= max(0.0, corrected_entropy_bits(table.cluster_sizes_K)) + 1e-12
    for estimate in (mutual, conditional):
        assert 0 <= estimate.low <= estimate.estimate <= estimate.high


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("weak, 2 x 2", 200),
        ("dependent, 10 x 5", 200),
        ("nested, 20 in 5", 200),
        ("sparse cells, 100 x 44", 8_937),
        ("full cells, 100 x 44", 30_000),
        ("a main label and noise, 100 x 44", 30_000),
        ("few labels each, 100 x 44", 8_937),
        ("posts, 2 attributes", 2_000),
        ("posts, 4 attributes", 8_937),
    ],
)
def test_intervals_hold_the_truth(name: str, rows: int) -> None:
    joint_KL = {**of_small_tables(), **of_large_tables(), **of_posts()}[name]
    generator = np.random.default_rng(0)
    truth, samples = true_information_bits(joint_KL), 100
    held = 0
    for _ in range(samples):
        table = sample(joint_KL, rows, generator)
        assert is_covered(table)
        interval = corrected_information(table).mutual_information
        held += interval.low <= truth <= interval.high
    assert held >= 0.88 * samples


@pytest.mark.parametrize("rows", [8_937, 30_000])
@pytest.mark.parametrize("name", ["independent and even, 100 x 20", "independent, 100 x 20"])
def test_intervals_of_independent_clusters_begin_at_zero(name: str, rows: int) -> None:
    generator = np.random.default_rng(0)
    tables = [sample(of_large_tables()[name], rows, generator) for _ in range(50)]
    lows = [corrected_information(table).mutual_information.low for table in tables]
    assert lows.count(0.0) >= 45


def test_coverage_is_what_the_cells_seen_once_leave() -> None:
    assert joint_coverage(Contingency.of_table(np.array([[1, 2], [1, 0], [0, 4]]))) == 1 - 2 / 8


@pytest.mark.parametrize(
    ("once", "often", "times", "covered"),
    [
        (10, 18, 5, True),  # 10 of 100 rows
        (9, 18, 5, False),  # 99 rows
        (11, 18, 5, False),  # 11 of 101 rows
        (6, 4, 30, True),  # 6 of 10 cells
        (7, 4, 30, False),  # 7 of 11 cells
    ],
)
def test_the_sample_must_have_seen_its_population(once: int, often: int, times: int, covered: bool) -> None:
    counts = np.array([1] * once + [times] * often)
    assert is_covered(Contingency.of_table(counts[:, None])) == covered
    assert is_covered(Contingency.of_table(counts[None, :])) == covered


def test_the_tail_of_a_power_law_is_not_guessed() -> None:
    """The whole bias is in cells that nobody saw, and half of the rows know no more of them."""
    table = sample(of_large_tables()["power law, 2,000 x 30"], 30_000, np.random.default_rng(0))
    assert joint_coverage(table) > 0.9
    assert not is_covered(table)


def test_nine_rows_of_pure_chance() -> None:
    table = Contingency.of_codes(np.array([0, 1, 2] * 3), np.array([0, 0, 1, 1, 2, 2, 0, 1, 2]))
    assert not is_covered(table)
