"""Rows -> Parquet shards that trainers, DuckDB, Polars and Hugging Face `datasets` read as they are."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from pipeline.sealed import sealed_writer

ROWS_A_GROUP = 128
BYTES_A_SHARD = 256 * 1024 * 1024


def write_shards(
    tables: Iterable[pa.Table], schema: pa.Schema, folder: Path, split: str, total_bytes: int
) -> int:
    """Writes `tables` as `<split>-NNNNN-of-NNNNN.parquet` of about `BYTES_A_SHARD` each.

    `total_bytes` of image data decides the number of shards. Returns the number of rows.
    """
    shards = max(1, -(-total_bytes // BYTES_A_SHARD))
    groups = _row_groups(tables, schema)
    rows = 0
    for shard in range(shards):
        path = folder / f"{split}-{shard:05d}-of-{shards:05d}.parquet"
        written, last = 0, shard == shards - 1
        with sealed_writer(path, schema, **_writer_options(schema)) as writer:
            while (last or written < BYTES_A_SHARD) and (group := next(groups, None)) is not None:
                writer.write_table(group, row_group_size=len(group))
                written += group.nbytes
                rows += len(group)
    return rows


def _row_groups(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Cuts into groups of `ROWS_A_GROUP`; the last takes what is left, up to half a group more."""
    pending = schema.empty_table()
    for table in tables:
        pending = pa.concat_tables([pending, table])
        while len(pending) >= 2 * ROWS_A_GROUP:
            yield pending.slice(0, ROWS_A_GROUP)
            pending = pending.slice(ROWS_A_GROUP)
    if len(pending) > 1.5 * ROWS_A_GROUP:
        yield pending.slice(0, ROWS_A_GROUP)
        pending = pending.slice(ROWS_A_GROUP)
    if len(pending):
        yield pending


def _writer_options(schema: pa.Schema) -> dict[str, object]:
    """Encoded images are not compressed again, and get neither dictionary nor statistics."""
    leaves = [name for field in schema for name in _leaves(field.name, field.type)]
    others = [name for name in leaves if name != "image.bytes"]
    return {
        "compression": dict.fromkeys(others, "zstd") | {"image.bytes": "none"},
        "use_dictionary": others,
        "write_statistics": others,
    }


def _leaves(name: str, kind: pa.DataType) -> list[str]:
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(f"{name}.{field.name}", field.type)]
    if pa.types.is_list(kind):
        return _leaves(f"{name}.list.element", kind.value_type)
    return [name]
