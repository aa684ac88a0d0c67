from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.statistics.contingency import UNKNOWN, Contingency

CODES = st.integers(min_value=UNKNOWN, max_value=6)
ROWS = st.lists(st.tuples(CODES, CODES), max_size=60)


def table_of(rows: list[tuple[int, int]]) -> Contingency:
    codes = np.array(rows, np.int64).reshape(-1, 2)
    return Contingency.of_codes(codes[:, 0], codes[:, 1])


def cells_of(table: Contingency) -> dict[tuple[int, int], int]:
    cells = zip(table.clusters_C.tolist(), table.labels_C.tolist(), strict=True)
    return dict(zip(cells, table.counts_C.tolist(), strict=True))


def assert_margins_fit(table: Contingency) -> None:
    for codes_C, sizes in ((table.clusters_C, table.cluster_sizes_K), (table.labels_C, table.label_sizes_L)):
        counted = np.zeros_like(sizes)
        np.add.at(counted, codes_C, table.counts_C)
        assert np.array_equal(counted, sizes)


@given(ROWS)
def test_counts_equal_counting_one_by_one(rows: list[tuple[int, int]]) -> None:
    table = table_of(rows)
    assert cells_of(table) == Counter(row for row in rows if UNKNOWN not in row)
    assert_margins_fit(table)


@given(ROWS, ROWS)
def test_the_sum_of_two_tables_is_the_table_of_all_rows(
    some: list[tuple[int, int]], others: list[tuple[int, int]]
) -> None:
    both = Contingency.merged([table_of(some), table_of(others)])
    assert cells_of(both) == cells_of(table_of(some + others))
    assert_margins_fit(both)


@given(ROWS, st.permutations(range(7)), st.permutations(range(7)))
def test_recoded_cells_keep_their_counts(
    rows: list[tuple[int, int]], clusters: list[int], labels: list[int]
) -> None:
    recoded = table_of(rows).recoded(np.array(clusters), np.array(labels))
    known = [row for row in rows if UNKNOWN not in row]
    assert cells_of(recoded) == Counter((clusters[z], labels[t]) for z, t in known)


def test_codes_that_become_one_are_joined_and_unknown_ones_dropped() -> None:
    table = table_of([(0, 0), (1, 0), (1, 1), (2, 1)])
    joined = table.recoded(np.array([0, 0, UNKNOWN]), np.array([0, 1]))
    assert cells_of(joined) == {(0, 0): 2, (0, 1): 1}
    assert_margins_fit(joined)


def sparse_codes(generator: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return generator.integers(0, 40_000, 5_000), generator.integers(0, 3_000, 5_000)


def even_codes(generator: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return generator.integers(0, 3_000, 400_000), generator.integers(0, 500, 400_000)


def codes_with_one_full_cell(generator: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The full cell overflows a byte and lies where a sample of every few rows does not see it."""
    clusters_N, labels_N = even_codes(generator)
    hidden = np.arange(400_000) % 6 == 1
    clusters_N[np.flatnonzero(hidden)[:700]] = 7
    labels_N[np.flatnonzero(hidden)[:700]] = 7
    return clusters_N, labels_N


def skewed_codes(generator: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return generator.zipf(1.5, 400_000) % 3_000, generator.zipf(1.5, 400_000) % 500


@pytest.mark.parametrize(
    "draw", [sparse_codes, even_codes, codes_with_one_full_cell, skewed_codes], ids=lambda draw: draw.__name__
)
def test_every_way_of_counting_gives_the_same_table(
    draw: Callable[[np.random.Generator], tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> None:
    clusters_N, labels_N = draw(np.random.default_rng(0))
    table = Contingency.of_codes(clusters_N, labels_N)
    keys, counts = np.unique(clusters_N * 10_000 + labels_N, return_counts=True)
    assert np.array_equal(table.clusters_C * 10_000 + table.labels_C, keys)
    assert np.array_equal(table.counts_C, counts)
    assert_margins_fit(table)


def test_a_full_table_gives_its_cells() -> None:
    table = Contingency.of_table(np.array([[2, 0], [0, 0], [1, 3]]))
    assert cells_of(table) == {(0, 0): 2, (2, 0): 1, (2, 1): 3}
    assert table.cluster_sizes_K.tolist() == [2, 0, 4]
    assert table.label_sizes_L.tolist() == [3, 3]


def test_narrow_integers_are_counted_without_overflow() -> None:
    codes_N = np.arange(200, dtype=np.uint8)
    assert Contingency.of_codes(codes_N, codes_N).counts_C.size == 200


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2,\) clusters cannot meet \(3,\) labels"):
        Contingency.of_codes(np.zeros(2, np.int64), np.zeros(3, np.int64))
