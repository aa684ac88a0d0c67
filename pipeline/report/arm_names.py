"""Names of the arms and their clusters in the report."""

from pipeline.config.cluster import ClusterParams
from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.traits import reads_clusters
from pipeline.presentation.formatting import TIMES

ARM_ROLES = {
    "chosen": "chosen",
    "untrained": "filters cut from the images",
    "start": "weights as they came",
    "instance": "floor: self-supervision",
    "label": "ceiling: labels as clusters",
}


def clusters_phrase(method: str, cluster: ClusterParams) -> str:
    """Returns the clusters of `method` as a plural subject for a sentence."""
    columns = cluster.attributes.columns
    phrases = {
        "instance": "Clusters of one image each (self-supervision)",
        "label": "The labels as clusters",
        "attributes": f"Clusters from {f' {TIMES} '.join(columns)}"
        if columns
        else "Clusters from attributes",
        "hierarchy": f"Clusters from level {cluster.hierarchy.level} of the hierarchy",
        "column": f"Clusters from the column {cluster.column.name}",
        "kmeans": "Clusters from k-means",
        "random": "Random clusters",
    }
    return phrases.get(method, f"Clusters from {method}")


def chosen_phrase(method: str, cluster: ClusterParams, pretrain: PretrainParams) -> str:
    """Returns the verdict's plural subject: the chosen arm's clusters if training reads them, else
    features."""
    if reads_clusters(pretrain.objective, pretrain.sampler):
        return clusters_phrase(method, cluster)
    return f"Features by {pretrain.objective}, which reads no clusters,"
