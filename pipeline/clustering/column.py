"""Method `column`: an attribute column taken as it is."""

from pipeline.clustering.base import Clusters, TrainImages, clusters_of_values
from pipeline.clustering.params import ClusterParams


def cluster_by_column(train: TrainImages, params: ClusterParams, _seed: int) -> Clusters:
    """Each value of `cluster.column.name` is a cluster; an image without a value stays alone."""
    assert params.column.name is not None, "the parameters' own check asks for a name"
    return Clusters(clusters_of_values(train.attribute(params.column.name, "cluster.column.name")))
