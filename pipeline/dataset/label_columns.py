"""Columns that determine the label: an id of the class, its name in another language, or a finer class."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.label_determination import determines_labels


def label_columns(columns: Mapping[str, Sequence[str | None]], train: ImageSplit) -> list[str]:
    """Returns the names of the `columns`, with one value per train image each, that determine the label."""
    labels_N = _codes(train.labels)
    return [
        name
        for name, cells in columns.items()
        if determines_labels(_codes(pa.array(cells, pa.string())), labels_N)
    ]


def _codes(column: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """Returns codes (N,) of equal values; -1 for null."""
    coded = pa.chunked_array([column] if isinstance(column, pa.Array) else column.chunks, pa.string())
    indices = coded.combine_chunks().dictionary_encode().indices
    return np.asarray(pc.fill_null(indices, -1), np.int64)
