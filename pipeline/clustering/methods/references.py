"""Methods `instance` and `label`, the references, and `random`, the control."""

from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc

from pipeline.clustering.base import Choice, Clusters
from pipeline.config.cluster import MethodSection, RandomParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.runtime.errors import UserError
from pipeline.runtime.seeding import numpy_generator
from pipeline.statistics.values import codes_of_values


def cluster_by_instance(train: ImageSplit, _params: MethodSection, _seed: int) -> Clusters:
    """Makes each image its own cluster: self-supervision (SimCLR)."""
    return Clusters(np.arange(len(train), dtype=np.int64))


def cluster_by_label(train: ImageSplit, _params: MethodSection, _seed: int) -> Clusters:
    """Takes the labels as clusters: supervision (SupCon). An image without a label is unknown."""
    return Clusters(codes_of_values(known_labels(train)))


def known_labels(train: ImageSplit) -> list[str | None]:
    """Returns the labels, with None if unknown.

    Raises `UserError` if no train image has a label.
    """
    if pc.count(train.labels).as_py() == 0:
        raise UserError(
            "clusters from labels need labels, and no train image has one: name their column in "
            "ingest.columns.label, or leave label out of cluster.method and report.references"
        )
    labels: list[str | None] = train.labels.to_pylist()
    return labels


def cluster_at_random(train: ImageSplit, params: RandomParams, seed: int) -> Clusters:
    """Returns random clusters of equal size, without information about the labels."""
    if params.clusters > len(train):
        raise UserError(
            f"cluster.random.clusters={params.clusters} is more than the {len(train)} train images: lower it"
        )
    # Permuting equal shares leaves no cluster empty.
    shares_N = np.arange(len(train), dtype=np.int64) % params.clusters
    return Clusters(numpy_generator(seed, "cluster", "random").permutation(shares_N))


def instance_choices(_train: ImageSplit, params: MethodSection) -> Iterator[Choice[MethodSection]]:
    yield Choice("each image", params, name="instance")


def label_choices(train: ImageSplit, params: MethodSection) -> Iterator[Choice[MethodSection]]:
    if pc.count(train.labels).as_py():
        yield Choice("each label", params, name="label")
