"""The clusterings by the names that `cluster.method` takes. A new one is one file and one line here."""

from pipeline.clustering.attributes import attribute_choices, cluster_by_attributes
from pipeline.clustering.base import Method
from pipeline.clustering.column import cluster_by_column, column_choices
from pipeline.clustering.controlled import coarsen_labels, permute_labels, subdivide_labels
from pipeline.clustering.ends import (
    cluster_at_random,
    cluster_by_instance,
    cluster_by_label,
    instance_choices,
    label_choices,
)
from pipeline.clustering.hashtags import cluster_by_hashtags, hashtag_choices
from pipeline.clustering.hierarchy import cluster_by_hierarchy, hierarchy_choices
from pipeline.clustering.kmeans import cluster_by_kmeans

METHODS: dict[str, Method] = {
    "attributes": Method(cluster_by_attributes, attribute_choices),
    "hashtags": Method(cluster_by_hashtags, hashtag_choices),
    "hierarchy": Method(cluster_by_hierarchy, hierarchy_choices),
    "column": Method(cluster_by_column, column_choices),
    "kmeans": Method(cluster_by_kmeans),
    "random": Method(cluster_at_random),
    "instance": Method(cluster_by_instance, instance_choices),
    "label": Method(cluster_by_label, label_choices),
    "coarsen": Method(coarsen_labels),
    "subdivide": Method(subdivide_labels),
    "permute": Method(permute_labels),
}
