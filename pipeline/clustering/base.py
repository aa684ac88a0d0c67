"""The interface of a clustering: its input, its result, and its settings."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from pipeline.config.cluster import MethodSection
from pipeline.dataset.dataset import ImageSplit
from pipeline.statistics.values import codes_of_values


@dataclass(frozen=True)
class Clusters:
    """A clustering of the train images."""

    labels_N: np.ndarray
    """int64, contiguous from 0, or `UNKNOWN` for an image without a value to cluster by."""
    common_values: Sequence[frozenset[object]] | None = None
    """Values that the images of each cluster share, for distances between clusters. None: unknown."""
    recluster: dict[str, Any] | None = None
    """Settings with which pretraining recomputes the clusters from its features; None: it keeps them."""
    words: list[list[str]] | None = None
    """Hashtags or words of each image, if clusters come from them: one that names the label would leak it."""
    label_columns: Sequence[str] = ()
    """Columns that the clusters are built from and that determine the label."""
    stopped_words: Sequence[str] = ()
    """Stop list: hashtags or words that were removed from `words`."""
    made_of: dict[str, list[str]] = field(default_factory=dict)
    """`columns` and `hashtags` that the clusters are built from: all images of a cluster agree in them."""
    notes: list[str] = field(default_factory=list)


Params = TypeVar("Params", bound=MethodSection)
"""Block of a method in the section `cluster`."""


class Choice(NamedTuple, Generic[Params]):
    setting: str
    """Setting within the method, such as `top 3`."""
    params: Params
    """Block of the method with this setting."""
    nested: bool = False
    """Whether the clusters refine those of the method's previous choice, so that a line joins the two."""
    name: str | None = None
    """Name among all methods; None: the method and the setting."""


def no_choices(_train: ImageSplit, _params: Params) -> Iterator[Choice[Params]]:
    yield from ()


@dataclass(frozen=True)
class Method(Generic[Params]):
    fit: Callable[[ImageSplit, Params, int], Clusters]
    """(train images, the block of parameters, seed) -> clusters."""
    choices: Callable[[ImageSplit, Params], Iterator[Choice[Params]]] = no_choices
    """All settings that the data allows and that are cheap to describe, for the landscape."""


def clusters_of_sets(sets: Sequence[frozenset[str] | None]) -> Clusters:
    """Returns clusters of equal sets; the distance between two clusters is the difference of their sets."""
    common_values = list(dict.fromkeys(members for members in sets if members is not None))
    return Clusters(codes_of_values(sets), common_values)
