"""K-means by Lloyd's iterations on any device, without an N x K matrix in full."""

from dataclasses import dataclass

import torch
from torch import Tensor

DISTANCES_AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Entries of the distance matrix that exist at one time: what a CPU's cache holds, what fills a GPU."""


@dataclass(frozen=True)
class KMeans:
    labels_N: Tensor
    """int64, contiguous from 0: a cluster that stays empty has no number."""
    centroids_KD: Tensor
    inertia: float
    """Sum of squared distances to the own centroid."""


def fit_kmeans(points_ND: Tensor, clusters: int, *, iterations: int, restarts: int, seed: int) -> KMeans:
    """The best of `restarts` runs by inertia, each from `clusters` random points.

    An empty cluster takes over the point that lies farthest from its centroid. With fewer points than
    `clusters`, each point is its own cluster.
    """
    points_ND = points_ND.float()
    clusters = min(clusters, len(points_ND))
    runs = (_run(points_ND, clusters, iterations, seed + restart) for restart in range(restarts))
    return min(runs, key=lambda run: run.inertia)


def _run(points_ND: Tensor, clusters: int, iterations: int, seed: int) -> KMeans:
    # Drawn on the CPU: the same start on every device.
    order_N = torch.randperm(len(points_ND), generator=torch.Generator().manual_seed(seed))
    centroids_KD = points_ND[order_N[:clusters].to(points_ND.device)]
    for _ in range(iterations):
        labels_N, distances_N = nearest(points_ND, centroids_KD)
        centroids_KD = _means(points_ND, labels_N, distances_N, clusters)
    labels_N, distances_N = nearest(points_ND, centroids_KD)
    used_K, labels_N = labels_N.unique(return_inverse=True)
    return KMeans(labels_N, centroids_KD[used_K], float(distances_N.sum()))


def nearest(points_ND: Tensor, centroids_KD: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest centroid of each point and its squared distance: (N,) int64 and (N,)."""
    norms_K = centroids_KD.square().sum(dim=1)
    chunk = max(1, DISTANCES_AT_ONCE[points_ND.device.type] // len(centroids_KD))
    labels, distances = [], []
    for points_MD in points_ND.split(chunk):
        # |x - c|^2 without |x|^2, which does not change which centroid is nearest
        partial_MK = torch.addmm(norms_K, points_MD, centroids_KD.T, alpha=-2)
        smallest_M, labels_M = partial_MK.min(dim=1)
        labels.append(labels_M)
        distances.append((smallest_M + points_MD.square().sum(dim=1)).clamp(min=0))
    return torch.cat(labels), torch.cat(distances)


def _means(points_ND: Tensor, labels_N: Tensor, distances_N: Tensor, clusters: int) -> Tensor:
    counts_K = torch.bincount(labels_N, minlength=clusters)
    sums_KD = torch.zeros(clusters, points_ND.shape[1], device=points_ND.device, dtype=points_ND.dtype)
    sums_KD.index_add_(0, labels_N, points_ND)
    means_KD = sums_KD / counts_K.clamp(min=1)[:, None]
    # The empty clusters, in order, take the farthest points; the shapes stay fixed, so nothing waits for
    # the device.
    empty_K = counts_K == 0
    farthest_K = distances_N.topk(clusters).indices
    rank_K = (empty_K.cumsum(dim=0) - 1).clamp(min=0)
    return torch.where(empty_K[:, None], points_ND[farthest_K[rank_K]], means_KD)
