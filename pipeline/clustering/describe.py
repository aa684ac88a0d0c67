"""Contents of `statistics.json` for a clustering."""

from typing import Any

import pyarrow as pa

from pipeline.clustering.base import Clusters
from pipeline.clustering.postprocess import Postprocessed
from pipeline.dataset.dataset import ImageSplit
from pipeline.statistics.contingency import UNKNOWN
from pipeline.statistics.describe import describe_clustering
from pipeline.statistics.findings import StopList


def describe(
    method: str,
    train: ImageSplit,
    clusters: Clusters,
    postprocessed: Postprocessed,
    batch_size: int,
    seed: int,
) -> dict[str, Any]:
    """Computes the statistics over the images that are trained on, and adds the counts of the policies.

    `batch_size` is that of pretraining: some statistics describe the clusters within a batch.
    """
    kept_N = postprocessed.labels_N != UNKNOWN
    tags = clusters.words
    if tags is not None:
        tags = [of_image for of_image, kept in zip(tags, kept_N, strict=True) if kept]
    statistics: dict[str, Any] = describe_clustering(
        method,
        postprocessed.labels_N[kept_N],
        train.labels.filter(pa.array(kept_N)),
        seed=seed,
        batch_size=batch_size,
        tags=tags,
        columns_determining_labels=clusters.label_columns,
        stop_list=StopList(f"cluster.{method}.stop_words", clusters.stopped_words),
    )
    return statistics | postprocessed.counts | {"notes": clusters.notes, "made_of": clusters.made_of}
