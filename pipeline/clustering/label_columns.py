"""Columns that give the label away: an id of the class, its name in another language, or a finer name."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipeline.clustering.base import TrainImages
from pipeline.statistics.contingency import Contingency
from pipeline.statistics.determination import determines_labels
from pipeline.statistics.values import encoded


def label_columns(columns: Mapping[str, Sequence[str | None]], train: TrainImages) -> list[str]:
    """Those of `columns`, a value of each for every train image, that determine the label."""
    labels_N, names = encoded(train.labels)
    if len(names) < 2:
        return []
    found = []
    for name, cells in columns.items():
        codes_N, _ = encoded(pa.array(cells, pa.string()))
        if determines_labels(Contingency.of_codes(codes_N, labels_N)):
            found.append(name)
    return found
