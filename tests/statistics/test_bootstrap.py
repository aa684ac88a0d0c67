import numpy as np
import pytest
from known_distributions import of_other_shapes, of_posts, true_information_bits
from numpy.typing import NDArray

from pipeline.statistics import bootstrap
from pipeline.statistics.bootstrap import corrected_with_intervals
from pipeline.statistics.contingency import Contingency
from pipeline.statistics.corrected import corrected_information


def sample(joint_KL: NDArray[np.float64], rows: int, generator: np.random.Generator) -> Contingency:
    return Contingency.of_table(generator.multinomial(rows, joint_KL.ravel()).reshape(joint_KL.shape))


@pytest.mark.parametrize("joint_KL", [*list(of_posts().values())[:2], of_other_shapes()["equal, 30"]])
def test_intervals_cover_the_truth(joint_KL: NDArray[np.float64]) -> None:
    generator = np.random.default_rng(0)
    truth = true_information_bits(joint_KL)
    covered = []
    for seed in range(60):
        interval = corrected_with_intervals(sample(joint_KL, 2_000, generator), seed).mutual_information_bits
        covered.append(interval.low <= truth <= interval.high)
    assert np.mean(covered) >= 0.88


def test_percentiles_of_replicates_would_miss_the_truth() -> None:
    """Why the intervals are made of the deviation: each replicate has seen fewer cells than its sample."""
    joint_KL = of_other_shapes()["independent, 50 x 10"]
    generator = np.random.default_rng(0)
    table = sample(joint_KL, 1_000, generator)
    replicates = [
        corrected_information(table.with_counts(generator.multinomial(1_000, table.counts_C / 1_000)))
        for _ in range(50)
    ]
    assert min(one.mutual_information_bits for one in replicates) > 0.1  # and the truth is 0
    assert corrected_with_intervals(table, 0).mutual_information_bits.low == 0.0


def test_equal_seeds_give_equal_intervals_and_others_do_not() -> None:
    table = sample(of_posts()["posts, 2 attributes"], 500, np.random.default_rng(0))
    assert corrected_with_intervals(table, 1) == corrected_with_intervals(table, 1)
    assert corrected_with_intervals(table, 1) != corrected_with_intervals(table, 2)


def test_the_way_of_large_tables_gives_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    table = sample(of_posts()["posts, 2 attributes"], 5_000, np.random.default_rng(0))
    small = corrected_with_intervals(table, 0).mutual_information_bits
    monkeypatch.setattr(bootstrap, "_MULTINOMIAL_CELLS", 0)
    large = corrected_with_intervals(table, 0).mutual_information_bits
    assert large != small
    assert large.high - large.low == pytest.approx(small.high - small.low, rel=0.4)


def test_large_tables_get_fewer_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    table = sample(of_posts()["posts, 2 attributes"], 500, np.random.default_rng(0))
    assert corrected_with_intervals(table, 0).replicates == bootstrap.MOST_REPLICATES
    monkeypatch.setattr(bootstrap, "_DRAWS", 0)
    assert corrected_with_intervals(table, 0).replicates == bootstrap.FEWEST_REPLICATES
