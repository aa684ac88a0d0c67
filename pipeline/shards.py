"""Reading what ingest wrote, without decoding any image."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UserError


def shard_paths(images: Path, split: str) -> list[Path]:
    """The shards of `split`, in order. Raises `UserError` if there is none."""
    paths = sorted(images.glob(f"{split}-*-of-*.parquet"))
    if not paths:
        raise UserError(f"{images} holds no {split} shards: run `dvc repro ingest`")
    return paths


def read_columns(images: Path, split: str, columns: Sequence[str]) -> pa.Table:
    """The named columns of all rows of `split`, in the order of the shards."""
    tables = [pq.read_table(path, columns=list(columns)) for path in shard_paths(images, split)]
    return pa.concat_tables(tables)
