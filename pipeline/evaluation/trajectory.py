"""What remade clusters told of the labels along a training.

Pretraining must not see labels, so it leaves the clusters themselves, and the labels meet them here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.statistics import Contingency, Information, encoded


def trajectory_with_information(encoder: Path, labels: Sequence[str | None]) -> list[dict[str, Any]]:
    """The rows of `trajectory.csv`, each with I(Z;T) and H(Z|T) of the clusters made then.

    `labels` are those of the train images in their order. Without any label both figures are None.
    """
    records = pd.read_csv(encoder / "trajectory.csv").to_dict("records")
    rows = [{str(name): value for name, value in record.items()} for record in records]
    if not any(labels):
        return rows
    table = pq.read_table(encoder / "assignments.parquet")
    label_codes_N, _ = encoded(pa.array(labels, pa.string()))
    for row in rows:
        clusters_N = table.column(f"cluster_at_epoch_{row['epoch']}").to_numpy()
        information = Information(Contingency.of_codes(clusters_N, label_codes_N))
        row["mutual_information_bits"] = information.mutual_information_bits
        row["conditional_entropy_bits"] = information.conditional_entropy_bits
    return rows
