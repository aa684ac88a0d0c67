"""What every clustering sees and gives back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.clustering.params import ClusterParams
from pipeline.errors import UserError, listed
from pipeline.shards import read_columns


class TrainImages:
    """What ingest knows of the train images, beside their pixels; those lie in the folder `images`."""

    def __init__(self, images: Path) -> None:
        self.images = images
        columns = ["id", "label", "hashtags", "attributes", "hierarchy"]
        self._table = read_columns(images, "train", columns)
        if not len(self._table):
            raise UserError(f"{images} has no train image: name train rows in the source's split column")

    def __len__(self) -> int:
        return len(self._table)

    @property
    def ids(self) -> pa.ChunkedArray:
        return self._table.column("id")

    @property
    def labels(self) -> pa.ChunkedArray:
        """Strings; null is unknown."""
        return self._table.column("label")

    @cached_property
    def hashtags(self) -> list[list[str]]:
        return [tags or [] for tags in self._table.column("hashtags").to_pylist()]

    @cached_property
    def hierarchy(self) -> list[list[str]]:
        """Root to leaf, a list an image."""
        return [levels or [] for levels in self._table.column("hierarchy").to_pylist()]

    @property
    def attribute_names(self) -> list[str]:
        kind = self._table.schema.field("attributes").type
        return [field.name for field in kind] if pa.types.is_struct(kind) else []

    def attribute(self, name: str, parameter: str) -> list[str | None]:
        """The column `name`. Raises `UserError` that names `parameter` if there is none."""
        names = self.attribute_names
        if name not in names:
            there = f"its columns are {listed(names)}" if names else "it has none"
            raise UserError(f"{parameter}: the data has no attribute column {name!r}; {there}")
        chunks = self._table.column("attributes").combine_chunks()
        values: list[str | None] = chunks.field(name).to_pylist()
        return values


@dataclass(frozen=True)
class Clusters:
    """A clustering of the train images."""

    labels_N: np.ndarray
    """int64, contiguous from 0."""
    recluster: dict[str, Any] | None = None
    """How pretraining remakes these clusters from its own features; None: it keeps them."""
    from_hashtags: bool = False
    """Whether hashtags made them, so that tags which name the label would leak it."""
    notes: list[str] = field(default_factory=list)


Clustering = Callable[[TrainImages, ClusterParams, int], Clusters]
"""(train images, the whole section `cluster`, seed) -> clusters."""


def clusters_of_values(values: Sequence[object | None]) -> np.ndarray:
    """Equal values share a cluster; each None is a cluster of its own. (N,) int64, contiguous from 0."""
    numbers: dict[object, int] = {}
    labels_N = np.empty(len(values), np.int64)
    for position, value in enumerate(values):
        # An object() equals nothing else, so an image of which nothing is known stays alone.
        labels_N[position] = numbers.setdefault(object() if value is None else value, len(numbers))
    return labels_N
