"""Method `hierarchy`: images under the same ancestor share a cluster."""

from pipeline.clustering.base import Clusters, TrainImages, clusters_of_values
from pipeline.clustering.params import ClusterParams
from pipeline.errors import UserError


def cluster_by_hierarchy(train: TrainImages, params: ClusterParams, _seed: int) -> Clusters:
    """The ancestor at `cluster.hierarchy.level` (1 is the root's column); a shallower leaf keeps itself.

    An ancestor is known by its whole path, so equal names under different parents stay apart.
    """
    depth = max(map(len, train.hierarchy))
    if not depth:
        raise UserError(
            "cluster.method=hierarchy: the data has no hierarchy; name its columns, root to leaf, in "
            "ingest.columns.hierarchy or choose another cluster.method"
        )
    if params.hierarchy.level > depth:
        raise UserError(
            f"cluster.hierarchy.level={params.hierarchy.level} is deeper than the tree: set it to {depth} "
            "or less"
        )
    paths = [tuple(levels[: params.hierarchy.level]) or None for levels in train.hierarchy]
    return Clusters(clusters_of_values(paths))
