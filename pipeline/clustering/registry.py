"""Clusterings by their names in `cluster.method`. A new one is one file and one line here."""

from typing import Any

from pipeline.clustering.base import Method
from pipeline.clustering.methods.attributes import attribute_choices, cluster_by_attributes
from pipeline.clustering.methods.column import cluster_by_column, column_choices
from pipeline.clustering.methods.controlled import coarsen_labels, permute_labels, subdivide_labels
from pipeline.clustering.methods.hashtags import cluster_by_hashtags, hashtag_choices
from pipeline.clustering.methods.hierarchy import cluster_by_hierarchy, hierarchy_choices
from pipeline.clustering.methods.kmeans import cluster_by_kmeans
from pipeline.clustering.methods.references import (
    cluster_at_random,
    cluster_by_instance,
    cluster_by_label,
    instance_choices,
    label_choices,
)
from pipeline.clustering.methods.text import cluster_by_text, text_choices

METHODS: dict[str, Method[Any]] = {
    "attributes": Method(cluster_by_attributes, attribute_choices),
    "hashtags": Method(cluster_by_hashtags, hashtag_choices),
    "text": Method(cluster_by_text, text_choices),
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
