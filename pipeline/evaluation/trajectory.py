"""Statistics against the labels of the clusters that pretraining recomputed.

Pretraining must not read labels. It therefore writes the clusters, and the statistics are computed here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from pipeline.statistics.contingency import Contingency
from pipeline.statistics.information import Information
from pipeline.statistics.values import encoded
from pipeline.storage.schema import TRAJECTORY_COLUMNS
from pipeline.storage.validation import check_csv, damaged, read_parquet, reading


def trajectory_with_information(encoder: Path, labels: Sequence[str | None]) -> list[dict[str, Any]]:
    """Returns the rows of `trajectory.csv`, each with I(Z;T) and H(Z|T) of its clusters.

    `labels` are those of the train images, in order. Without any label, both values are missing.
    """
    path = encoder / "trajectory.csv"
    check_csv(path, TRAJECTORY_COLUMNS)
    with reading(path):
        records = pd.read_csv(path).to_dict("records")
    rows = [{str(name): value for name, value in record.items()} for record in records]
    if not any(labels):
        return rows
    columns = [pa.field(f"cluster_at_epoch_{row['epoch']}", pa.int64()) for row in rows]
    assignments = encoder / "assignments.parquet"
    table = read_parquet(assignments, pa.schema([*columns, pa.field("id", pa.string())]))
    if len(table) != len(labels):
        raise damaged(assignments, f"it has {len(table)} rows, and there are {len(labels)} train images")
    label_codes_N, _ = encoded(pa.array(labels, pa.string()))
    for row in rows:
        clusters_N = table.column(f"cluster_at_epoch_{row['epoch']}").to_numpy()
        information = Information(Contingency.of_codes(clusters_N, label_codes_N))
        row["mutual_information_bits"] = information.mutual_information_bits
        row["conditional_entropy_bits"] = information.conditional_entropy_bits
    return rows
