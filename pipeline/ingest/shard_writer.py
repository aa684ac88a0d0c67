"""Writing of Parquet shards that trainers, DuckDB, Polars and Hugging Face `datasets` read directly."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.executors.workers import worker_count
from pipeline.ingest.chunk_files import Chunks
from pipeline.storage.checksums import checksummed_writer

ROWS_PER_GROUP = 128
BYTES_PER_SHARD = 256 * 1024 * 1024
"""Maximum size of a shard, up to one row group more."""
BYTES_PER_CELL = 20
"""Bytes that the writer holds per cell until the shard ends. A row counts as at least its cells, even if its
image is small; otherwise a shard of small images in a table of thousands of columns would not fit into
memory."""


def write_shards(
    parts: Chunks,
    chosen: Mapping[str, NDArray[np.bool_]],
    sizes_N: NDArray[np.int32],
    schema: pa.Schema,
    folder: Path,
) -> None:
    """Writes the chosen rows of each split as `<split>-NNNNN-of-NNNNN.parquet`, several at a time.

    `sizes_N` are the bytes of each row's image, which determine where a shard ends unless the columns do.
    """

    sizes_N = np.maximum(sizes_N, BYTES_PER_CELL * len(_columns(schema)))

    def write(path: Path, split: str, start: int, stop: int) -> None:
        write_shard(_stored_rows(parts, chosen[split], start, stop, schema), schema, path)

    # Arrow's writing and the hashing release the GIL.
    with ThreadPoolExecutor(worker_count()) as threads:
        under_way = []
        for split, chosen_N in chosen.items():
            rows = np.flatnonzero(chosen_N)
            edges = [0, *rows[_cuts(sizes_N[rows])].tolist(), len(chosen_N)]
            for number, ends in enumerate(pairwise(edges)):
                path = folder / f"{split}-{number:05d}-of-{len(edges) - 1:05d}.parquet"
                under_way.append(threads.submit(write, path, split, *ends))
        try:
            for written in under_way:
                written.result()
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


def _cuts(sizes_N: NDArray[np.int32]) -> NDArray[np.intp]:
    """Returns where all shards but the first begin: after whole row groups, with about equally many bytes."""
    ends_N = np.cumsum(sizes_N, dtype=np.int64)
    total = int(ends_N[-1]) if len(ends_N) else 0
    shards = max(1, -(-total // BYTES_PER_SHARD))
    requested = np.arange(1, shards) * (total / shards)
    groups = np.round((np.searchsorted(ends_N, requested) + 1) / ROWS_PER_GROUP).astype(np.intp)
    cuts = np.unique(groups) * ROWS_PER_GROUP
    return cuts[(cuts > 0) & (cuts < len(sizes_N))]


def _stored_rows(
    parts: Chunks, chosen_N: NDArray[np.bool_], start: int, stop: int, schema: pa.Schema
) -> Iterator[pa.Table]:
    """Yields the chosen ones of these rows, few at a time, as their images are held in memory."""
    for first, part in parts.between(start, stop):
        part = part.select(schema.names).replace_schema_metadata(schema.metadata)
        for place in range(0, len(part), ROWS_PER_GROUP):
            few = part.slice(place, ROWS_PER_GROUP)
            yield few.filter(pa.array(chosen_N[first + place : first + place + len(few)]))


def write_shard(tables: Iterable[pa.Table], schema: pa.Schema, path: Path) -> None:
    """Writes `tables` in row groups, a few of which are held in memory."""
    with checksummed_writer(path, schema, **_writer_options(schema)) as writer:
        for group in _row_groups(tables, schema):
            writer.write_table(group, row_group_size=len(group))


def _row_groups(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Cuts tables into groups of `ROWS_PER_GROUP`; the last takes the rest, up to half a group more."""
    pending = schema.empty_table()
    for table in tables:
        pending = pa.concat_tables([pending, table])
        while len(pending) >= 2 * ROWS_PER_GROUP:
            yield pending.slice(0, ROWS_PER_GROUP)
            pending = pending.slice(ROWS_PER_GROUP)
    if len(pending) > 1.5 * ROWS_PER_GROUP:
        yield pending.slice(0, ROWS_PER_GROUP)
        pending = pending.slice(ROWS_PER_GROUP)
    if len(pending):
        yield pending


def _writer_options(schema: pa.Schema) -> dict[str, object]:
    """Returns options: encoded images are not compressed again, and get neither dictionary nor statistics."""
    others = [name for name in _columns(schema) if name != "image.bytes"]
    return {
        "compression": dict.fromkeys(others, "zstd") | {"image.bytes": "none"},
        "use_dictionary": others,
        "write_statistics": others,
    }


def _columns(schema: pa.Schema) -> list[str]:
    """Returns the columns as Parquet stores them."""
    return [name for field in schema for name in _leaves(field.name, field.type)]


def _leaves(name: str, kind: pa.DataType) -> list[str]:
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(f"{name}.{field.name}", field.type)]
    if pa.types.is_list(kind):
        return _leaves(f"{name}.list.element", kind.value_type)
    return [name]
