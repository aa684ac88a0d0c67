"""What remade clusters told of the labels along a training.

Pretraining must not see labels, so it leaves the clusters themselves, and the labels meet them here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from pipeline.statistics import describe_clustering

INFORMATION = ("mutual_information_bits", "conditional_entropy_bits")


def trajectory_with_information(encoder: Path, labels: Sequence[str | None]) -> list[dict[str, Any]]:
    """The rows of `trajectory.csv`, each with I(Z;T) and H(Z|T) of the clusters made then."""
    records = pd.read_csv(encoder / "trajectory.csv").to_dict("records")
    rows = [{str(name): value for name, value in record.items()} for record in records]
    table = pq.read_table(encoder / "assignments.parquet")
    for row in rows:
        clusters_N = table.column(f"cluster_at_epoch_{row['epoch']}").to_numpy()
        statistics = describe_clustering("kmeans", clusters_N, labels, seed=0)
        row.update({name: statistics[name] for name in INFORMATION})
    return rows
