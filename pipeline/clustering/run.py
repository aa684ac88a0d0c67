"""Stage 2: train images -> clusters and what they tell of the labels."""

from typing import Any

from pipeline.clustering.assignments import write_assignments
from pipeline.clustering.base import TrainImages
from pipeline.clustering.params import ClusterParams
from pipeline.clustering.registry import METHODS
from pipeline.files import write_json
from pipeline.schema import CHOSEN, Layout
from pipeline.statistics import describe_clustering


def cluster(params: ClusterParams, arm: str, batch_size: int, seed: int, layout: Layout) -> dict[str, Any]:
    """Writes `assignments.parquet` and `statistics.json` of `arm`; returns the statistics.

    `batch_size` is pretraining's: some statistics say what a batch sees of the clusters.
    The arm `chosen` follows `cluster.method`; a reference is clustered by the method of its own name.
    """
    method = params.method if arm == CHOSEN else arm
    train = TrainImages(layout.images)
    clusters = METHODS[method](train, params, seed)
    statistics: dict[str, Any] = describe_clustering(
        method,
        clusters.labels_N,
        train.labels,
        seed=seed,
        batch_size=batch_size,
        tags=train.hashtags if clusters.from_hashtags else None,
    )
    statistics["notes"] = clusters.notes
    write_assignments(layout.assignments(arm), train.ids, clusters.labels_N, clusters.recluster)
    write_json(layout.statistics(arm), statistics)
    return statistics
