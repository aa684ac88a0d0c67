"""The clusterings by the names that `cluster.method` takes. A new one is one file and one line here."""

from pipeline.clustering.attributes import cluster_by_attributes
from pipeline.clustering.base import Clustering
from pipeline.clustering.column import cluster_by_column
from pipeline.clustering.ends import cluster_at_random, cluster_by_instance, cluster_by_label
from pipeline.clustering.hashtags import cluster_by_hashtags
from pipeline.clustering.hierarchy import cluster_by_hierarchy
from pipeline.clustering.kmeans import cluster_by_kmeans

METHODS: dict[str, Clustering] = {
    "attributes": cluster_by_attributes,
    "column": cluster_by_column,
    "hashtags": cluster_by_hashtags,
    "hierarchy": cluster_by_hierarchy,
    "instance": cluster_by_instance,
    "kmeans": cluster_by_kmeans,
    "label": cluster_by_label,
    "random": cluster_at_random,
}
