"""K-means against scikit-learn's, from the same start."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans as Reference

from pipeline.clustering import lloyd
from pipeline.clustering.lloyd import fit_kmeans, nearest


def points(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def test_it_ends_where_scikit_learn_ends() -> None:
    data = points(600, 8)
    start = data[torch.randperm(600, generator=torch.Generator().manual_seed(3))[:12]]
    ours = fit_kmeans(data, 12, iterations=200, restarts=1, seed=3)
    theirs = Reference(12, init=start.numpy(), n_init=1, max_iter=200, tol=0).fit(data.numpy())
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-5)
    np.testing.assert_array_equal(ours.labels_N.numpy(), theirs.labels_)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 20))
def test_labels_are_contiguous_and_every_point_is_at_its_nearest(
    count: int, clusters: int, seed: int
) -> None:
    data = points(count, 3, seed).round()  # rounding makes equal points, so that clusters run empty
    fitted = fit_kmeans(data, clusters, iterations=5, restarts=2, seed=seed)
    labels = fitted.labels_N.tolist()
    assert set(labels) == set(range(len(fitted.centroids_KD)))
    assert len(fitted.centroids_KD) <= min(clusters, count)
    squared = torch.cdist(data, fitted.centroids_KD).square()
    own = squared.gather(1, fitted.labels_N[:, None])[:, 0]
    torch.testing.assert_close(own, squared.amin(dim=1), atol=1e-4, rtol=1e-4)
    assert fitted.inertia == pytest.approx(float(own.sum()), abs=1e-2)


def test_an_empty_cluster_takes_the_farthest_point() -> None:
    # Twenty equal points and one far away: a start on equal points leaves a cluster empty.
    data = torch.cat([torch.zeros(20, 2), torch.tensor([[9.0, 9.0]])])
    for seed in range(5):
        fitted = fit_kmeans(data, 2, iterations=3, restarts=1, seed=seed)
        assert fitted.inertia == 0.0
        assert fitted.labels_N.bincount().sort().values.tolist() == [1, 20]


def test_chunks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    data, centroids = points(100, 4), points(7, 4, seed=1)
    whole = nearest(data, centroids)
    monkeypatch.setitem(lloyd.DISTANCES_AT_ONCE, "cpu", 7 * 9)
    for one, other in zip(whole, nearest(data, centroids), strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(
        whole[1], torch.cdist(data, centroids).square().amin(dim=1), atol=1e-4, rtol=1e-4
    )


def test_more_restarts_are_never_worse() -> None:
    data = points(300, 5)
    inertias = [fit_kmeans(data, 20, iterations=10, restarts=r, seed=0).inertia for r in (1, 3, 6)]
    assert inertias == sorted(inertias, reverse=True)
