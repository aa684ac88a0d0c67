"""`assignments.parquet`: the cluster of each image, and the settings for re-clustering."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.storage.checksums import write_checksummed
from pipeline.storage.files import write_atomically
from pipeline.storage.schema import ASSIGNMENTS_SCHEMA, RECLUSTER_METADATA
from pipeline.storage.validation import read_parquet


@dataclass(frozen=True)
class Assignments:
    ids: list[str]
    clusters_N: np.ndarray
    recluster: dict[str, Any] | None


def write_assignments(
    path: Path, ids: pa.Array, clusters_N: np.ndarray, recluster: dict[str, Any] | None
) -> None:
    metadata = {RECLUSTER_METADATA: json.dumps(recluster).encode()} if recluster else None
    schema = ASSIGNMENTS_SCHEMA.with_metadata(metadata)
    table = pa.table([ids, pa.array(clusters_N, pa.int64())], schema=schema)
    write_atomically(path, lambda temporary: write_checksummed(table, temporary))


def read_assignments(path: Path) -> Assignments:
    """Reads the cluster of each image. Raises `UserError` if the file is missing or damaged."""
    table = read_parquet(path, ASSIGNMENTS_SCHEMA)
    recluster = (table.schema.metadata or {}).get(RECLUSTER_METADATA)
    clusters_N = table.column("cluster").to_numpy()
    return Assignments(
        table.column("id").to_pylist(), clusters_N, json.loads(recluster) if recluster else None
    )
