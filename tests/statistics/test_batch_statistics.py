import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.statistics.batch_statistics import (
    anchors_without_positives,
    expected_positives,
    largest_pair_share,
    objective_ceiling_bits,
)

SIZES = st.lists(st.integers(1, 8), min_size=1, max_size=8)


@given(SIZES, st.integers(2, 40))
def test_lonely_share_equals_counting_batches(sizes: list[int], batch_size: int) -> None:
    rows = sum(sizes)
    others = min(batch_size, rows) - 1
    batches = math.comb(rows - 1, others)
    alone = sum(size / rows * math.comb(rows - size, others) / batches for size in sizes)
    expected = 1.0 if rows == 1 else alone
    assert anchors_without_positives(np.array(sizes), batch_size) == pytest.approx(expected, abs=1e-12)


def test_both_figures_equal_drawn_batches() -> None:
    sizes = np.array([1, 1, 2, 5, 20, 71])
    cluster_of_row = np.repeat(np.arange(6), sizes)
    generator = np.random.default_rng(0)
    others = []
    for _ in range(4000):
        batch = generator.choice(cluster_of_row, 16, replace=False)
        others.append(np.bincount(batch, minlength=6)[batch] - 1)
    assert anchors_without_positives(sizes, 16) == pytest.approx(np.mean(np.equal(others, 0)), abs=0.01)
    assert expected_positives(sizes, 16) == pytest.approx(np.mean(others), rel=0.02)


def test_ends_of_the_scale() -> None:
    assert anchors_without_positives(np.ones(50, np.int64), 16) == 1.0
    assert expected_positives(np.ones(50, np.int64), 16) == 0.0
    assert anchors_without_positives(np.array([50]), 16) == 0.0
    assert expected_positives(np.array([50]), 16) == pytest.approx(15.0)


def test_larger_batches_and_coarser_clusters_leave_fewer_alone() -> None:
    fine = np.random.default_rng(0).multinomial(7_000, np.full(700, 1 / 700))
    coarse = fine.reshape(70, 10).sum(axis=1)
    assert (
        anchors_without_positives(fine, 64)
        > anchors_without_positives(fine, 128)
        > anchors_without_positives(coarse, 128)
    )


def test_ceiling() -> None:
    assert objective_ceiling_bits(3.0, 128) == 3.0
    assert objective_ceiling_bits(9.0, 128) == 7.0


def test_the_largest_cluster_s_share_of_pairs_equals_counting_them_in_every_batch() -> None:
    sizes = [1, 1, 2, 4]
    cluster_of_row = np.repeat(np.arange(4), sizes)
    pairs = np.zeros(4)
    for batch in itertools.combinations(cluster_of_row, 3):
        views = np.repeat(batch, 2)
        for first, second in itertools.permutations(range(len(views)), 2):
            if views[first] == views[second]:
                pairs[views[first]] += 1
    assert largest_pair_share(np.array(sizes), 3) == pytest.approx(pairs[3] / pairs.sum())
    # All rows in one batch: n images give 2n (2n - 1) ordered pairs.
    of_all = [2 * size * (2 * size - 1) for size in sizes]
    for batch_size in (8, 100, None):
        assert largest_pair_share(np.array(sizes), batch_size) == pytest.approx(of_all[3] / sum(of_all))


def test_the_share_of_pairs_at_its_ends() -> None:
    assert largest_pair_share(np.zeros(0, np.int64), 8) == 0.0
    assert largest_pair_share(np.array([1]), 8) == 1.0
    assert largest_pair_share(np.array([50]), None) == 1.0
    assert largest_pair_share(np.ones(50, np.int64), 8) == pytest.approx(1 / 50)
