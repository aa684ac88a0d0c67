"""What `statistics.json` says of a clustering."""

from typing import Any

import pyarrow as pa

from pipeline.clustering.base import UNKNOWN, Clusters, TrainImages
from pipeline.clustering.policies import Settled
from pipeline.statistics import describe_clustering


def describe(
    method: str, train: TrainImages, clusters: Clusters, settled: Settled, batch_size: int, seed: int
) -> dict[str, Any]:
    """The statistics of the images that are trained on, and what the policies did.

    `batch_size` is pretraining's: some statistics say what a batch sees of the clusters.
    """
    kept_N = settled.labels_N != UNKNOWN
    tags = clusters.hashtags
    if tags is not None:
        tags = [its for its, kept in zip(tags, kept_N, strict=True) if kept]
    statistics: dict[str, Any] = describe_clustering(
        method,
        settled.labels_N[kept_N],
        train.labels.filter(pa.array(kept_N)),
        seed=seed,
        batch_size=batch_size,
        tags=tags,
        columns_determining_labels=clusters.label_columns,
        stopped_tags=clusters.stopped_hashtags,
    )
    return statistics | settled.counts | {"notes": clusters.notes, "made_of": clusters.made_of}
