"""Shards hold the chosen rows, in their order and in about equal parts."""

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest import shard_writer as shards
from pipeline.ingest.chunk_files import Chunks
from pipeline.ingest.chunks import Task, prepare_chunk
from pipeline.ingest.shard_writer import write_shards
from pipeline.sources.base import SourceRow
from pipeline.storage.schema import images_schema
from support import png

SCHEMA = images_schema([])
ROWS = 60


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Chunks:
    """Of 7, 0, 40 and 13 rows."""
    folder, parts, start = tmp_path_factory.mktemp("parts"), Chunks(), 0
    for rows in (7, 0, 40, 13):
        of_part = [SourceRow(str(row), png(row), f"{row}.png") for row in range(start, start + rows)]
        path = folder / f"{start}-{rows}.arrow"
        prepare_chunk(of_part, Task(SCHEMA, 12, look=False), path)
        parts.append(path, rows)
        start += rows
    return parts


@given(ends=st.tuples(st.integers(0, ROWS), st.integers(0, ROWS)).map(sorted))
def test_rows_are_numbered_through(parts: Chunks, ends: list[int]) -> None:
    start, stop = ends
    found = list(parts.between(start, stop))
    assert [name for _, part in found for name in part.column("id").to_pylist()] == [
        str(row) for row in range(start, stop)
    ]
    assert all(part.column("id")[0].as_py() == str(first) for first, part in found if len(part))


@pytest.mark.parametrize("workers", ["1", "3"])
@pytest.mark.parametrize("bytes_a_shard", [1500, 100_000])
@pytest.mark.parametrize("every", [1, 3, ROWS + 1])
def test_shards_hold_the_chosen_rows(
    parts: Chunks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    every: int,
    bytes_a_shard: int,
    workers: str,
) -> None:
    monkeypatch.setenv("CLINFONCE_WORKERS", workers)
    monkeypatch.setattr(shards, "ROWS_PER_GROUP", 2)
    monkeypatch.setattr(shards, "BYTES_PER_SHARD", bytes_a_shard)
    chosen_N = np.arange(ROWS) % every == every - 1
    sizes_N = np.array([len(png(row)) for row in range(ROWS)], np.int32)
    write_shards(parts, {"train": chosen_N, "test": ~chosen_N}, sizes_N, SCHEMA, tmp_path)
    for split, selected_N in (("train", chosen_N), ("test", ~chosen_N)):
        paths = sorted(tmp_path.glob(f"{split}-*"))
        requested = max(1, -(-int(sizes_N[selected_N].sum()) // bytes_a_shard))
        assert [path.name for path in paths] == [
            f"{split}-{number:05d}-of-{requested:05d}.parquet" for number in range(requested)
        ]
        tables = [pq.read_table(path) for path in paths]
        ids = pa.concat_tables(tables).column("id").to_pylist()
        assert ids == [str(row) for row in np.flatnonzero(selected_N)]
        held = [sum(sizes_N[int(row)] for row in table.column("id").to_pylist()) for table in tables]
        assert max(held) - min(held) <= 4 * sizes_N.max()


@pytest.mark.parametrize(("sizes", "shards_wanted"), [(1, 8), (180, 8), (360, 15)])
def test_columns_count_where_images_are_small(
    parts: Chunks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: int, shards_wanted: int
) -> None:
    """The schema has nine columns, of 20 bytes a cell."""
    monkeypatch.setattr(shards, "ROWS_PER_GROUP", 2)
    monkeypatch.setattr(shards, "BYTES_PER_SHARD", 1500)
    chosen = {"train": np.ones(ROWS, np.bool_)}
    write_shards(parts, chosen, np.full(ROWS, sizes, np.int32), SCHEMA, tmp_path)
    assert len(list(tmp_path.iterdir())) == shards_wanted


def test_the_first_mistake_ends_the_writing(
    parts: Chunks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def full(_tables: object, _schema: object, path: Path) -> None:
        written.append(path)
        time.sleep(0.05)
        raise OSError("no space left")

    monkeypatch.setenv("CLINFONCE_WORKERS", "2")
    monkeypatch.setattr(shards, "ROWS_PER_GROUP", 1)
    monkeypatch.setattr(shards, "BYTES_PER_SHARD", 1)
    monkeypatch.setattr(shards, "write_shard", full)
    with pytest.raises(OSError, match="no space left"):
        write_shards(parts, {"train": np.ones(ROWS, np.bool_)}, np.ones(ROWS, np.int32), SCHEMA, tmp_path)
    assert len(written) < 8


@given(
    sizes=st.lists(st.integers(0, 100), max_size=80),
    bytes_a_shard=st.integers(1, 2000),
    rows_a_group=st.integers(1, 9),
)
def test_cuts_lie_between_groups(sizes: list[int], bytes_a_shard: int, rows_a_group: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shards, "ROWS_PER_GROUP", rows_a_group)
        patched.setattr(shards, "BYTES_PER_SHARD", bytes_a_shard)
        cuts = shards._cuts(np.array(sizes, np.int32))
    edges = [0, *cuts.tolist(), len(sizes)]
    assert all(cut % rows_a_group == 0 for cut in cuts)
    assert edges == sorted(set(edges)) or not sizes
    largest = max(sizes, default=0)
    for start, stop in pairwise(edges):
        # Half a group on either side, and a row is not cut.
        assert sum(sizes[start:stop]) <= bytes_a_shard + (rows_a_group + 2) * largest
        assert sum(sizes[start:stop]) >= sum(sizes) / len(edges) - (rows_a_group + 2) * largest
