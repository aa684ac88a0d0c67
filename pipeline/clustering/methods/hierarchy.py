"""Method `hierarchy`: images under the same ancestor share a cluster."""

from collections.abc import Iterator
from itertools import accumulate

from pipeline.clustering.base import Choice, Clusters, clusters_of_sets
from pipeline.config.cluster import HierarchyParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.runtime.errors import UserError
from pipeline.storage.files import resolve_user_path
from pipeline.tables.edge_list import paths_from_root

SEPARATOR = "\x1f"
"""Separator of the names of a path; names do not contain it."""


def cluster_by_hierarchy(train: ImageSplit, params: HierarchyParams, _seed: int) -> Clusters:
    """Clusters by the ancestor at `cluster.hierarchy.level` (root: 1); a shallower leaf is its own cluster.

    An ancestor is identified by its path, so equal names under different parents differ.
    """
    level, paths = params.level, _paths(train, params)
    depth = max(map(len, paths))
    if not depth:
        raise UserError(
            "cluster.method=hierarchy: the data has no hierarchy; name its columns, root to leaf, in "
            "ingest.columns.hierarchy or choose another cluster.method"
        )
    if level > depth:
        raise UserError(f"cluster.hierarchy.level={level} is deeper than the tree: set it to {depth} or less")
    # Clusters are described by all of their ancestors, so that siblings are near.
    return clusters_of_sets([_ancestors(path[:level]) if path else None for path in paths])


def hierarchy_choices(train: ImageSplit, params: HierarchyParams) -> Iterator[Choice[HierarchyParams]]:
    """Yields every level."""
    for level in range(1, max(map(len, _paths(train, params))) + 1):
        yield Choice(f"level {level}", params.model_copy(update={"level": level}), nested=True)


def _paths(train: ImageSplit, params: HierarchyParams) -> list[list[str]]:
    """Returns one path per image, root to leaf: from the data, or that of its leaf in the file of edges."""
    if params.edges is None:
        return train.hierarchy
    leaves = {levels[-1] for levels in train.hierarchy if levels}
    path_of = paths_from_root(
        resolve_user_path(params.edges), leaves, params.several_parents, "cluster.hierarchy.edges"
    )
    return [path_of[levels[-1]] if levels else [] for levels in train.hierarchy]


def _ancestors(path: list[str]) -> frozenset[str]:
    return frozenset(accumulate(path, lambda above, name: f"{above}{SEPARATOR}{name}"))
