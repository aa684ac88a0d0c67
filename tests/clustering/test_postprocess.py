"""Images without information and small clusters: every policy against plain cases and properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clustering.base import Clusters, clusters_of_sets
from pipeline.clustering.postprocess import apply_policies
from pipeline.config.cluster import ClusterParams
from pipeline.runtime.errors import UserError
from pipeline.statistics.contingency import UNKNOWN
from support import params_with


def section(**changes: object) -> ClusterParams:
    return params_with(cluster=changes).cluster


def postprocessed(labels: list[int], **changes: object) -> list[int]:
    labels_N = apply_policies(Clusters(np.array(labels, np.int64)), section(**changes)).labels_N
    return [int(label) for label in labels_N]


def test_missing_images() -> None:
    labels = [0, UNKNOWN, 1, UNKNOWN, 0]
    assert postprocessed(labels, missing="instance") == [0, 2, 1, 3, 0]
    assert postprocessed(labels, missing="own") == [0, 2, 1, 2, 0]
    assert postprocessed(labels, missing="drop") == [0, UNKNOWN, 1, UNKNOWN, 0]
    with pytest.raises(UserError, match=r"cluster.missing=drop leaves no image"):
        postprocessed([UNKNOWN, UNKNOWN], missing="drop")


def test_small_clusters() -> None:
    labels = [0, 0, 0, 1, 1, 2]
    assert postprocessed(labels) == labels
    assert postprocessed(labels, min_size=3, small="instance") == [0, 0, 0, 1, 2, 3]


def test_small_clusters_join_the_nearest_large_one() -> None:
    sets = ["abc"] * 3 + ["x"] * 4 + ["ab"] * 1 + ["abx"] * 2 + ["xy"] * 1
    clusters = clusters_of_sets([frozenset(own) for own in sets])
    result = apply_policies(clusters, section(min_size=3, small="nearest"))
    # ab lacks only c; abx is as far from abc as from x, and x is larger; xy has only y besides x.
    assert result.labels_N.tolist() == [0] * 3 + [1] * 4 + [0] + [1] * 2 + [1]
    assert result.counts == {"images_missing": 0, "images_dropped": 0, "images_of_small_clusters": 4}


def test_nearest_needs_clusters_that_can_be_compared() -> None:
    with pytest.raises(UserError, match=r"cluster.small=nearest needs clusters from attributes"):
        postprocessed([0, 0, 0, 1], min_size=2, small="nearest")


def test_without_a_large_cluster_small_ones_stay() -> None:
    clusters = clusters_of_sets([frozenset("a"), frozenset("b"), None])
    assert apply_policies(clusters, section(min_size=5, small="nearest")).labels_N.tolist() == [0, 1, 2]


sets = st.lists(st.none() | st.frozensets(st.sampled_from("abcd"), min_size=1), min_size=1, max_size=40)


@given(
    sets,
    st.sampled_from(["instance", "own"]),
    st.integers(2, 6),
    st.sampled_from(["keep", "instance", "nearest"]),
)
def test_every_image_ends_in_a_numbered_cluster(
    data: list[frozenset[str] | None], missing: str, min_size: int, small: str
) -> None:
    clusters = clusters_of_sets(data)
    min_size = min_size if small != "keep" else 1
    result = apply_policies(clusters, section(missing=missing, min_size=min_size, small=small))
    assert set(result.labels_N.tolist()) == set(range(result.labels_N.max() + 1))
    # Clusters that are large enough stay together, whatever happens to others.
    sizes = np.bincount(clusters.labels_N[clusters.labels_N != UNKNOWN])
    for cluster in np.flatnonzero(sizes >= min_size):
        assert len(set(result.labels_N[clusters.labels_N == cluster].tolist())) == 1
    assert result.counts["images_missing"] == sum(own is None for own in data)
