"""Stage 2: train images -> clusters and their statistics against the labels."""

from typing import Any

import pyarrow as pa

from pipeline.clustering.describe import describe
from pipeline.clustering.landscape import landscape
from pipeline.clustering.postprocess import apply_policies
from pipeline.clustering.registry import METHODS
from pipeline.config.cluster import ClusterParams
from pipeline.dataset.assignments import write_assignments
from pipeline.dataset.dataset import ImageDataset
from pipeline.statistics.contingency import UNKNOWN
from pipeline.storage.files import write_csv, write_json
from pipeline.storage.schema import CHOSEN, Layout


def cluster(params: ClusterParams, arm: str, batch_size: int, seed: int, layout: Layout) -> dict[str, Any]:
    """Writes `assignments.parquet` and `statistics.json` of `arm`, and for the chosen one
    `landscape.csv` and `advice.json`.

    Returns the statistics.
    """
    section = section_of(arm, params)
    train = ImageDataset(layout.images).train
    clusters = METHODS[section.method].fit(train, section.chosen, seed)
    postprocessed = apply_policies(clusters, section)
    statistics = describe(section.method, train, clusters, postprocessed, batch_size, seed)
    kept_N = postprocessed.labels_N != UNKNOWN
    ids = train.ids.filter(pa.array(kept_N))
    write_assignments(layout.assignments(arm), ids, postprocessed.labels_N[kept_N], clusters.recluster)
    write_json(layout.statistics(arm), statistics)
    if arm == CHOSEN:
        available = landscape(train, params, batch_size, seed)
        write_csv(layout.landscape, available.columns, available.rows)
        write_json(layout.advice, available.advice)
    return statistics


def section_of(arm: str, params: ClusterParams) -> ClusterParams:
    """Returns the section `cluster` for `chosen`; for a reference, only the method of the same name."""
    return params if arm == CHOSEN else ClusterParams.model_validate({"method": arm})
