"""Method `hierarchy`: images under the same ancestor share a cluster."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate

from pipeline.clustering.base import Choice, Clusters, clusters_of_sets
from pipeline.config.cluster import HierarchyParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.runtime.errors import UserError, listed
from pipeline.storage.files import resolve_user_path
from pipeline.tables.edge_list import LEAVES_SHOWN, paths_from_root

SEPARATOR = "\x1f"
"""Separator of the names of a path; names do not contain it."""


def cluster_by_hierarchy(train: ImageSplit, params: HierarchyParams, _seed: int) -> Clusters:
    """Clusters by the ancestor at `cluster.hierarchy.level` (root: 1); a shallower leaf is its own cluster.

    An ancestor is identified by its path, so equal names under different parents differ.
    """
    level, (paths, notes) = params.level, _paths(train, params)
    depth = max(map(len, paths))
    if not depth:
        raise UserError(
            "cluster.method=hierarchy: the data has no hierarchy; name its columns, root to leaf, in "
            "ingest.columns.hierarchy or choose another cluster.method"
        )
    if level > depth:
        but = "".join(f" ({note})" for note in notes)
        raise UserError(
            f"cluster.hierarchy.level={level} is deeper than the tree: set it to {depth} or less{but}"
        )
    # Clusters are described by all of their ancestors, so that siblings are near.
    clusters = clusters_of_sets([_ancestors(path[:level]) if path else None for path in paths])
    return replace(clusters, notes=notes)


def hierarchy_choices(train: ImageSplit, params: HierarchyParams) -> Iterator[Choice[HierarchyParams]]:
    """Yields every level."""
    paths, _ = _paths(train, params)
    for level in range(1, max(map(len, paths)) + 1):
        yield Choice(f"level {level}", params.model_copy(update={"level": level}), nested=True)


def _paths(train: ImageSplit, params: HierarchyParams) -> tuple[list[list[str]], list[str]]:
    """Returns one path per image, root to leaf, from the data or that of its leaf in the file of edges; and
    notes on leaves that this file lacks."""
    if params.edges is None:
        return train.hierarchy, []
    leaves = [levels[-1] if levels else None for levels in train.hierarchy]
    images_of = Counter(leaf for leaf in leaves if leaf is not None)
    path_of, missing = paths_from_root(
        resolve_user_path(params.edges), images_of, params.several_parents, "cluster.hierarchy.edges"
    )
    notes = []
    if missing:
        missing.sort(key=lambda leaf: -images_of[leaf])
        notes.append(
            f"{sum(images_of[leaf] for leaf in missing):,} images have a leaf that cluster.hierarchy.edges "
            f"lacks, which is a root of its own: {listed(missing, LEAVES_SHOWN)}"
        )
    return [path_of[leaf] if leaf is not None else [] for leaf in leaves], notes


def _ancestors(path: list[str]) -> frozenset[str]:
    return frozenset(accumulate(path, lambda above, name: f"{above}{SEPARATOR}{name}"))
