"""What every clustering sees and gives back."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.clustering.params import ClusterParams
from pipeline.errors import UserError, listed
from pipeline.shards import read_columns

UNKNOWN = -1
"""Stands for a cluster where nothing is known of the image."""


class TrainImages:
    """What ingest knows of the train images, beside their pixels; those lie in the folder `images`."""

    def __init__(self, images: Path) -> None:
        self.images = images
        self.worked_out: dict[object, Any] = {}
        """What a method made of all images and needs for each of its choices: the landscape asks for many."""
        self.ids = self._column("id")

    def __len__(self) -> int:
        return len(self.ids)

    def _column(self, name: str) -> pa.ChunkedArray:
        """Read when it is asked for: who does not ask for labels never has them."""
        return read_columns(self.images, "train", [name]).column(name)

    @cached_property
    def labels(self) -> pa.ChunkedArray:
        """Strings; null is unknown."""
        return self._column("label")

    @cached_property
    def hashtags(self) -> list[list[str]]:
        return lists_of(self._column("hashtags"))

    @cached_property
    def hierarchy(self) -> list[list[str]]:
        """Root to leaf, a list an image."""
        return lists_of(self._column("hierarchy"))

    @cached_property
    def attribute_names(self) -> list[str]:
        kind = self._attributes.type
        return [field.name for field in kind] if pa.types.is_struct(kind) else []

    def attribute(self, name: str, parameter: str) -> list[str | None]:
        """The column `name`. Raises `UserError` that names `parameter` if there is none."""
        names = self.attribute_names
        if name not in names:
            there = f"its columns are {listed(names)}" if names else "it has none"
            raise UserError(f"{parameter}: the data has no attribute column {name!r}; {there}")
        values: list[str | None] = self._attributes.field(name).to_pylist()
        return values

    @cached_property
    def _attributes(self) -> pa.StructArray:
        return self._column("attributes").combine_chunks()


def lists_of(column: pa.ChunkedArray) -> list[list[str]]:
    """A column of lists of strings; null is an empty list. Each distinct string is one object, however often
    it occurs: a million images share a few thousand hashtags."""
    found: list[list[str]] = []
    same: dict[str, str] = {}
    for chunk in column.chunks:
        coded = pc.list_flatten(chunk).dictionary_encode()
        names = [same.setdefault(name, name) for name in coded.dictionary.to_pylist()]
        strings = iter([names[code] for code in coded.indices.to_numpy(zero_copy_only=False)])
        lengths = pc.fill_null(pc.list_value_length(chunk), 0).to_pylist()
        found += [list(islice(strings, length)) for length in lengths]
    return found


@dataclass(frozen=True)
class Clusters:
    """A clustering of the train images."""

    labels_N: np.ndarray
    """int64, contiguous from 0, or `UNKNOWN`."""
    in_common: list[frozenset[str]] | None = None
    """What the images of each cluster have in common; by it clusters are near or far. None: not known."""
    recluster: dict[str, Any] | None = None
    """How pretraining remakes these clusters from its own features; None: it keeps them."""
    hashtags: list[list[str]] | None = None
    """Each image's hashtags, if they made the clusters: tags that name the label would leak it."""
    label_columns: Sequence[str] = ()
    """Columns that the clusters are made from, and that determine the label."""
    stopped_hashtags: Sequence[str] = ()
    """The stop list: tags that were taken out of `hashtags`."""
    made_of: dict[str, list[str]] = field(default_factory=dict)
    """`columns` and `hashtags` that the clusters are made from: all images of a cluster agree in them."""
    notes: list[str] = field(default_factory=list)


Fit = Callable[[TrainImages, ClusterParams, int], Clusters]
"""(train images, the whole section `cluster`, seed) -> clusters."""


class Choice(NamedTuple):
    setting: str
    """Its name in the landscape, such as `top 3`."""
    params: ClusterParams
    """The section `cluster` with this setting."""
    nested: bool = False
    """Whether its clusters refine those of the method's choice before, so that a line joins the two."""


def no_choices(_train: TrainImages, _params: ClusterParams) -> Iterator[Choice]:
    yield from ()


@dataclass(frozen=True)
class Method:
    fit: Fit
    choices: Callable[[TrainImages, ClusterParams], Iterator[Choice]] = no_choices
    """All settings of this method that the data offers and that are cheap to describe: the landscape."""


def clusters_of_values(values: Sequence[object | None]) -> np.ndarray:
    """Equal values share a cluster; None is `UNKNOWN`. (N,) int64, numbered in order of appearance."""
    numbers: dict[object, int] = {}
    return np.array(
        [UNKNOWN if value is None else numbers.setdefault(value, len(numbers)) for value in values], np.int64
    )


def clusters_of_sets(sets: Sequence[frozenset[str] | None]) -> Clusters:
    """Images with the same set share a cluster, and clusters whose sets differ in little are near."""
    in_common = list(dict.fromkeys(its for its in sets if its is not None))
    return Clusters(clusters_of_values(sets), in_common)


def with_section(params: ClusterParams, method: str, **changes: object) -> ClusterParams:
    """`params` with another method and with `changes` in that method's own section."""
    section = getattr(params, method).model_copy(update=changes)
    return params.model_copy(update={"method": method, method: section})
