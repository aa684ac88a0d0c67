"""K-means against scikit-learn's, from the same start."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans as Reference

from pipeline import kmeans as lloyd
from pipeline.kmeans import fit_kmeans, fit_kmeans_each, nearest
from pipeline.runtime.errors import UserError


def points(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def test_it_ends_where_scikit_learn_ends() -> None:
    data = points(600, 8)
    start = data[torch.randperm(600, generator=torch.Generator().manual_seed(3))[:12]]
    ours = fit_kmeans(data, 12, max_iter=200, n_init=1, seed=3)
    theirs = Reference(12, init=start.numpy(), n_init=1, max_iter=200, tol=0).fit(data.numpy())
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-5)
    np.testing.assert_array_equal(ours.labels_N.numpy(), theirs.labels_)


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 20))
def test_labels_are_contiguous_and_every_point_is_at_its_nearest(
    count: int, clusters: int, seed: int
) -> None:
    data = points(count, 3, seed).round()  # rounding makes equal points, so that clusters run empty
    fitted = fit_kmeans(data, clusters, max_iter=5, n_init=2, seed=seed)
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
        fitted = fit_kmeans(data, 2, max_iter=3, n_init=1, seed=seed)
        assert fitted.inertia == pytest.approx(0.0, abs=1e-5)
        assert fitted.labels_N.bincount().sort().values.tolist() == [1, 20]


def test_chunks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    data, centroids = points(100, 4), [points(7, 4, seed=1), points(3, 4, seed=2)]
    whole = nearest(data, centroids)
    monkeypatch.setitem(lloyd.DISTANCES_AT_ONCE, "cpu", 10 * 9)
    for one, other, of_KD in zip(whole, nearest(data, centroids), centroids, strict=True):
        torch.testing.assert_close(one, other)
        squared, labels = torch.cdist(data, of_KD).square().min(dim=1)
        torch.testing.assert_close(one, (labels, squared), atol=1e-4, rtol=1e-4)


def test_several_numbers_of_clusters_at_once_are_those_of_one_at_a_time() -> None:
    data = points(400, 6)
    together = fit_kmeans_each(data, [5, 30, 2], max_iter=8, n_init=2, seed=4)
    for clusters, fitted in zip([5, 30, 2], together, strict=True):
        alone = fit_kmeans(data, clusters, max_iter=8, n_init=2, seed=4)
        assert len(fitted.centroids_KD) == clusters
        assert fitted.inertia == pytest.approx(alone.inertia, rel=1e-3)
        assert (fitted.labels_N == alone.labels_N).float().mean() > 0.95


def test_it_stops_when_nothing_moves() -> None:
    data = torch.cat([points(50, 3), points(50, 3) + 40])
    fitted = fit_kmeans(data, 2, max_iter=100, n_init=3, seed=0)
    assert fitted.iterations < 10
    assert fitted.labels_N.bincount().tolist() == [50, 50]


def test_points_far_from_the_origin_keep_their_digits() -> None:
    data = points(300, 4)
    near = fit_kmeans(data, 6, max_iter=50, n_init=1, seed=0)
    far = fit_kmeans(data + 1000, 6, max_iter=50, n_init=1, seed=0)
    assert far.inertia == pytest.approx(near.inertia, rel=1e-3)
    torch.testing.assert_close(far.centroids_KD - 1000, near.centroids_KD, atol=0.02, rtol=0)


@pytest.mark.parametrize("rough", [False, True])
def test_rough_products_cost_no_quality_and_end_with_the_run(
    monkeypatch: pytest.MonkeyPatch, rough: bool
) -> None:
    monkeypatch.setattr(lloyd, "computes_in_bfloat16", lambda _device: rough)
    data = torch.nn.functional.normalize(points(3000, 32), dim=1)
    start = data[torch.randperm(3000, generator=torch.Generator().manual_seed(1))[:60]]
    fitted = fit_kmeans(data, 60, max_iter=20, n_init=1, seed=1)
    assert torch.get_float32_matmul_precision() == "highest"
    exact = Reference(60, init=start.numpy(), n_init=1, max_iter=20, tol=0).fit(data.numpy())
    assert fitted.inertia == pytest.approx(exact.inertia_, rel=5e-3)
    own = (data - fitted.centroids_KD[fitted.labels_N]).square().sum()
    assert fitted.inertia == pytest.approx(float(own), rel=1e-5)


def test_more_restarts_are_never_worse() -> None:
    data = points(300, 5)
    inertias = [fit_kmeans(data, 20, max_iter=10, n_init=r, seed=0).inertia for r in (1, 3, 6)]
    assert inertias == sorted(inertias, reverse=True)


@pytest.mark.parametrize("exponent", range(-30, 31, 6))
def test_the_unit_of_the_points_does_not_matter(exponent: int) -> None:
    data, unit = torch.cat([points(50, 3), points(50, 3, seed=1) + 4]), 10.0**exponent
    plain, other = (fit_kmeans(some, 4, max_iter=50, n_init=2, seed=0) for some in (data, data * unit))
    assert torch.equal(other.labels_N, plain.labels_N)
    assert other.inertia / unit**2 == pytest.approx(plain.inertia, rel=1e-4)
    torch.testing.assert_close(other.centroids_KD / unit, plain.centroids_KD, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_points_that_are_not_finite_are_refused(value: float) -> None:
    data = points(30, 3)
    data[[4, 9], 1] = value
    with pytest.raises(UserError, match="2 of the 30 points"):
        fit_kmeans(data, 4, max_iter=5, n_init=1, seed=0)
