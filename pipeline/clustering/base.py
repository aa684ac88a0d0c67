"""What every clustering sees and gives back."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from pipeline.config.cluster import MethodSection
from pipeline.dataset.dataset import ImageSplit

UNKNOWN = -1
"""Stands for a cluster where nothing is known of the image."""


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


Params = TypeVar("Params", bound=MethodSection)
"""A method's own block of the section `cluster`."""


class Choice(NamedTuple, Generic[Params]):
    setting: str
    """Its name in the landscape, such as `top 3`."""
    params: Params
    """The method's block with this setting."""
    nested: bool = False
    """Whether its clusters refine those of the method's choice before, so that a line joins the two."""


def no_choices(_train: ImageSplit, _params: Params) -> Iterator[Choice[Params]]:
    yield from ()


@dataclass(frozen=True)
class Method(Generic[Params]):
    fit: Callable[[ImageSplit, Params, int], Clusters]
    """(train images, the method's block of parameters, seed) -> clusters."""
    choices: Callable[[ImageSplit, Params], Iterator[Choice[Params]]] = no_choices
    """All settings of this method that the data offers and that are cheap to describe: the landscape."""


def clusters_of_values(values: Sequence[object | None]) -> np.ndarray:
    """Equal values share a cluster; None is `UNKNOWN`. (N,) int64, numbered in order of appearance."""
    numbers: dict[object, int] = {}
    return np.array(
        [UNKNOWN if value is None else numbers.setdefault(value, len(numbers)) for value in values], np.int64
    )


def clusters_of_sets(sets: Sequence[frozenset[str] | None]) -> Clusters:
    """Images with the same set share a cluster, and clusters whose sets differ in little are near."""
    in_common = list(dict.fromkeys(members for members in sets if members is not None))
    return Clusters(clusters_of_values(sets), in_common)
