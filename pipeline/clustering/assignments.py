"""`assignments.parquet`: which image is in which cluster, and how pretraining may remake the clusters."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UserError
from pipeline.files import write_atomically
from pipeline.schema import ASSIGNMENTS_SCHEMA, RECLUSTER_METADATA


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
    write_atomically(path, lambda temporary: pq.write_table(table, temporary))


def read_assignments(path: Path) -> Assignments:
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run `dvc repro`, which clusters before it trains") from None
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is damaged ({error}): delete it and run `dvc repro`") from None
    recluster = (table.schema.metadata or {}).get(RECLUSTER_METADATA)
    clusters_N = table.column("cluster").to_numpy()
    return Assignments(
        table.column("id").to_pylist(), clusters_N, json.loads(recluster) if recluster else None
    )
