"""Methods `instance` and `label`, the ends of the scale, and `random`, the control."""

from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc

from pipeline.clustering.base import Choice, Clusters, TrainImages, clusters_of_values
from pipeline.clustering.params import ClusterParams
from pipeline.errors import UserError
from pipeline.randomness import numpy_generator


def cluster_by_instance(train: TrainImages, _params: ClusterParams, _seed: int) -> Clusters:
    """Each image its own cluster: self-supervision (SimCLR)."""
    return Clusters(np.arange(len(train), dtype=np.int64))


def cluster_by_label(train: TrainImages, _params: ClusterParams, _seed: int) -> Clusters:
    """The labels themselves: supervision (SupCon). An image without a label is unknown."""
    return Clusters(clusters_of_values(known_labels(train)))


def known_labels(train: TrainImages) -> list[str | None]:
    """Raises `UserError` if no train image has a label."""
    if pc.count(train.labels).as_py() == 0:
        raise UserError(
            "clusters from labels need labels, and no train image has one: name their column in "
            "ingest.columns.label, or leave label out of cluster.method and report.references"
        )
    labels: list[str | None] = train.labels.to_pylist()
    return labels


def cluster_at_random(train: TrainImages, params: ClusterParams, seed: int) -> Clusters:
    """Clusters that know nothing: what pretraining makes of them is chance."""
    if params.random.clusters > len(train):
        raise UserError(
            f"cluster.random.clusters={params.random.clusters} is more than the {len(train)} train images: "
            "lower it"
        )
    # A permutation of equal shares leaves no cluster empty.
    shares_N = np.arange(len(train), dtype=np.int64) % params.random.clusters
    return Clusters(numpy_generator(seed, "cluster", "random").permutation(shares_N))


def instance_choices(_train: TrainImages, params: ClusterParams) -> Iterator[Choice]:
    yield Choice("each image", params.model_copy(update={"method": "instance"}))


def label_choices(train: TrainImages, params: ClusterParams) -> Iterator[Choice]:
    if pc.count(train.labels).as_py():
        yield Choice("each label", params.model_copy(update={"method": "label"}))
