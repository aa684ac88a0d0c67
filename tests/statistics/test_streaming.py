from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.statistics import streaming as tally_module
from pipeline.statistics.contingency import Contingency
from pipeline.statistics.streaming import Coder, Tally

VALUES = st.sampled_from(["a", "b", "c", "d", None, ""])
ROWS = st.lists(st.tuples(VALUES, VALUES), max_size=40)


def tally_of(rows: Sequence[tuple[str | None, str | None]], batch: int = 1_000) -> Tally:
    tally = Tally(Coder())
    for start in range(0, len(rows), batch):
        clusters, labels = zip(*rows[start : start + batch], strict=True)
        tally.add_codes(tally.clusters.codes(clusters), tally.labels.codes(labels))
    return tally


def texts(coder: Coder) -> list[str]:
    return [value for value in coder._code_of if isinstance(value, str)]


def cells_by_value(tally: Tally) -> dict[tuple[str, str], int]:
    table, clusters, labels = tally.labelled, texts(tally.clusters), texts(tally.labels)
    cells = zip(table.clusters_C, table.labels_C, table.counts_C, strict=True)
    return {(clusters[z], labels[t]): int(count) for z, t, count in cells}


def sizes_by_value(tally: Tally) -> dict[str, int]:
    sizes = zip(texts(tally.clusters), tally.cluster_sizes_K, strict=True)
    return {value: int(size) for value, size in sizes if size}


def assert_same(one: Tally, other: Tally) -> None:
    assert cells_by_value(one) == cells_by_value(other)
    assert sizes_by_value(one) == sizes_by_value(other)
    assert (one.rows, one.rows_without_cluster) == (other.rows, other.rows_without_cluster)


@given(ROWS)
def test_counts_are_those_of_the_values(rows: list[tuple[str | None, str | None]]) -> None:
    tally = tally_of(rows)
    with_cluster = [(z, t) for z, t in rows if z]
    assert cells_by_value(tally) == {pair: with_cluster.count(pair) for pair in with_cluster if pair[1]}
    clusters = [z for z, _ in with_cluster]
    assert sizes_by_value(tally) == {z: clusters.count(z) for z in clusters}
    assert tally.rows_without_cluster == len(rows) - len(with_cluster)


@given(ROWS, st.integers(1, 7))
def test_batches_do_not_matter(rows: list[tuple[str | None, str | None]], batch: int) -> None:
    assert_same(tally_of(rows, batch), tally_of(rows))


def test_merging_early_gives_the_same_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f"{i % 17}", f"{i % 5}") for i in range(400)]
    expected = tally_of(rows)
    monkeypatch.setattr(tally_module, "_PENDING_CELLS", 10)
    assert_same(tally_of(rows, batch=13), expected)


def test_a_coder_that_is_shared_stays_shared_while_it_is_empty() -> None:
    labels = Coder()
    first, second = Tally(labels), Tally(labels)
    assert first.labels is second.labels is labels


def test_an_empty_tally_describes_no_rows() -> None:
    tally = Tally(Coder())
    assert tally.labelled.rows == tally.cluster_sizes_K.size == tally.rows_without_cluster == 0
    assert isinstance(tally.labelled, Contingency)
    assert np.array_equal(tally.cluster_sizes_K, [])


def test_values_are_sorted_with_their_rows() -> None:
    coder = Coder()
    for batch in (["b", "a", None, "b"], ["", "c", "b", " c "], pa.array([3.0, 3.0]), pa.array([3])):
        coder.codes(batch)
    values, rows_V = coder.sorted_values()
    assert dict(zip(values, rows_V.tolist(), strict=True)) == {"3": 3, "a": 1, "b": 3, "c": 2}
    assert values == sorted(values)


def test_long_values_keep_their_beginning() -> None:
    coder = Coder()
    coder.codes(["x" * 300 + "a", "x" * 300 + "b", "x" * 300 + "a"])
    values, rows_V = coder.sorted_values()
    assert (values, rows_V.tolist()) == (["x" * 256] * 2, [2, 1])
    coder.codes(["b", "a", "b"])
    assert coder.rows_of_values() == {"b": 2, "a": 1}
