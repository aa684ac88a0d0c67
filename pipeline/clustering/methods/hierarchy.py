"""Method `hierarchy`: images under the same ancestor share a cluster."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pipeline.clustering.base import Choice, Clusters
from pipeline.config.cluster import MOST_LEVELS, HierarchyParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.runtime.errors import UserError, listed
from pipeline.statistics.values import codes_of_values
from pipeline.storage.files import resolve_user_path
from pipeline.tables.edge_list import LEAVES_SHOWN, paths_from_root


def cluster_by_hierarchy(train: ImageSplit, params: HierarchyParams, _seed: int) -> Clusters:
    """Clusters by the ancestor at `cluster.hierarchy.level` (root: 1); a shallower leaf is its own cluster.

    An ancestor is identified by its path, so equal names under different parents differ.
    """
    level, tree = params.level, _tree(train, params)
    if not tree.depth:
        raise UserError(
            "cluster.method=hierarchy: the data has no hierarchy; name its columns, root to leaf, in "
            "ingest.columns.hierarchy or choose another cluster.method"
        )
    if level > tree.depth:
        but = "".join(f" ({note})" for note in tree.notes)
        raise UserError(
            f"cluster.hierarchy.level={level} is deeper than the tree: set it to {tree.depth} or less{but}"
        )
    ancestors = tree.ancestors_at(level)
    nodes = [None if leaf == NO_NODE else ancestors[leaf] for leaf in tree.leaves]
    clusters = list(dict.fromkeys(node for node in nodes if node is not None))
    return Clusters(codes_of_values(nodes), _AncestorSets(tree.parents, clusters), notes=tree.notes)


def hierarchy_choices(train: ImageSplit, params: HierarchyParams) -> Iterator[Choice[HierarchyParams]]:
    """Yields every level."""
    for level in range(1, min(_tree(train, params).depth, MOST_LEVELS) + 1):
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


# --- the tree -----------------------------------------------------------------------------------------------

NO_NODE = -1
"""Stands for the parent of a root, and for the leaf of an image without a path."""


@dataclass(frozen=True)
class _Tree:
    """The nodes of the paths of all images, numbered from 0 so that a parent precedes its children."""

    parents: list[int]
    """Parent of each node."""
    levels: list[int]
    """Level of each node; that of a root is 1."""
    leaves: list[int]
    """Node of each image."""
    notes: list[str]
    """Sentences about leaves that the file of edges lacks."""

    @classmethod
    def of_paths(cls, paths: Sequence[Sequence[str]], notes: list[str]) -> "_Tree":
        """Builds the tree of the path of each image, root to leaf, which may be empty."""
        tree, numbers = cls([], [], [], notes), dict[tuple[int, str], int]()
        for path in paths:
            node = NO_NODE
            for level, name in enumerate(path, start=1):
                parent, node = node, numbers.setdefault((node, name), len(numbers))
                if node == len(tree.parents):
                    tree.parents.append(parent)
                    tree.levels.append(level)
            tree.leaves.append(node)
        return tree

    @property
    def depth(self) -> int:
        return max(self.levels, default=0)

    def ancestors_at(self, level: int) -> list[int]:
        """Returns the ancestor at `level` of each node; the node itself if it is not deeper."""
        ancestors: list[int] = []
        for node, (parent, own_level) in enumerate(zip(self.parents, self.levels, strict=True)):
            ancestors.append(node if own_level <= level else ancestors[parent])
        return ancestors


def _tree(train: ImageSplit, params: HierarchyParams) -> _Tree:
    """Returns the tree, which is read and built once for all levels."""
    return _tree_of_all_levels(train, params.model_copy(update={"level": 1}))


@lru_cache(maxsize=1)
def _tree_of_all_levels(train: ImageSplit, params: HierarchyParams) -> _Tree:
    return _Tree.of_paths(*_paths(train, params))


@dataclass(frozen=True)
class _AncestorSets(Sequence[frozenset[int]]):
    """The node of each cluster with all nodes above it, so that siblings are near; built when requested,
    since those of all clusters of a deep tree take gigabytes."""

    parents: list[int]
    clusters: list[int]
    """Node of each cluster."""

    def __len__(self) -> int:
        return len(self.clusters)

    def __getitem__(self, cluster: int) -> frozenset[int]:  # type: ignore[override]
        nodes, node = [], self.clusters[cluster]
        while node != NO_NODE:
            nodes.append(node)
            node = self.parents[node]
        return frozenset(nodes)
