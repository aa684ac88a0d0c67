"""The tree of a hierarchy: clusters as by whole paths, at a cost that does not grow with their lengths."""

import tracemalloc
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clustering.base import Clusters, clusters_of_sets
from pipeline.clustering.methods import hierarchy
from pipeline.clustering.methods.hierarchy import cluster_by_hierarchy, hierarchy_choices
from pipeline.config.cluster import MOST_LEVELS, HierarchyParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.tables.edge_list import LeafPaths, paths_from_root


class Train:
    def __init__(self, paths: Sequence[Sequence[str]]) -> None:
        self.hierarchy = paths


def of_all_levels(paths: Sequence[Sequence[str]], **params: Any) -> list[Clusters]:
    train = cast(ImageSplit, Train(paths))
    choices = hierarchy_choices(train, HierarchyParams.model_validate(params))
    return [cluster_by_hierarchy(train, choice.params, 0) for choice in choices]


def by_whole_paths(paths: Sequence[Sequence[str]], level: int) -> Clusters:
    """An ancestor is the path to it."""
    return clusters_of_sets([
        frozenset(accumulate(path[:level], lambda above, name: f"{above}/{name}")) if path else None
        for path in paths
    ])  # fmt: skip


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=5), min_size=1, max_size=12))
def test_clusters_and_their_distances_are_those_of_whole_paths(paths: list[list[str]]) -> None:
    all_levels = of_all_levels(paths)
    assert len(all_levels) == max(map(len, paths))
    for level, clusters in enumerate(all_levels, start=1):
        expected = by_whole_paths(paths, level)
        assert clusters.labels_N.tolist() == expected.labels_N.tolist()
        assert distances(clusters) == distances(expected)


def distances(clusters: Clusters) -> list[list[int]]:
    assert clusters.common_values is not None
    values = [clusters.common_values[cluster] for cluster in range(len(clusters.common_values))]
    return [[len(one ^ other) for other in values] for one in values]


def chain(folder: Path, levels: int, letters: int) -> Path:
    """A table of edges with a chain of `levels` - 1 long names above each of the leaves a and b."""
    names = [f"{n:06d}" + "n" * letters for n in range(levels - 1)]
    edges = [("a", names[0]), ("b", names[0]), *pairwise(names)]
    path = folder / "edges.csv"
    path.write_text("".join(f"{child},{parent}\n" for child, parent in edges))
    return path


def test_memory_does_not_grow_with_the_paths(tmp_path: Path) -> None:
    """Whole paths would take 60 x 100 x 40,000 characters at the deepest level."""
    edges = chain(tmp_path, MOST_LEVELS, 800)
    tracemalloc.start()
    clusters = of_all_levels([["ab"[n % 2]] for n in range(60)], edges=str(edges))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(clusters) == MOST_LEVELS
    assert [int(each.labels_N.max()) for each in clusters] == [0] * (MOST_LEVELS - 1) + [1]
    assert most < 2 << 20


def test_the_table_of_edges_is_read_once_for_all_levels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []

    def counting(file: Path, *others: Any) -> LeafPaths:
        reads.append(file)
        return paths_from_root(file, *others)

    monkeypatch.setattr(hierarchy, "paths_from_root", counting)
    assert len(of_all_levels([["a"], ["b"]], edges=str(chain(tmp_path, 7, 1)))) == 7
    assert len(reads) == 1
    assert len(of_all_levels([["a"]], edges=str(chain(tmp_path, 5, 1)))) == 5
    assert len(reads) == 2


def test_each_name_of_a_path_is_looked_up_once_for_all_levels() -> None:
    hashed: list[str] = []

    class Name(str):
        __slots__ = ()

        def __hash__(self) -> int:
            hashed.append(self)
            return super().__hash__()

    paths = [[Name(n) for n in range(50)] for _ in range(20)]
    assert len(of_all_levels(paths)) == 50
    assert len(hashed) <= 20 * 50


def test_levels_that_no_parameter_can_name_are_no_choices() -> None:
    assert len(of_all_levels([[str(n) for n in range(MOST_LEVELS + 5)]])) == MOST_LEVELS
