"""K-means by Lloyd's iterations on any device, without the whole N x K matrix of distances.

Shape letters: N points, D dimensions, K clusters of one run, S clusters of all runs together.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.runtime.device import computes_in_bfloat16
from pipeline.runtime.errors import UserError
from pipeline.runtime.magnitude import power_of_two

DISTANCES_AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Entries of the distance matrix that exist at one time: as many as fit a CPU's cache, or fill a GPU."""


@dataclass(frozen=True)
class KMeans:
    labels_N: Tensor
    """int64, contiguous from 0: a cluster that stays empty has no number."""
    centroids_KD: Tensor
    inertia: float
    """Sum of the points' squared distances to their centroids."""
    iterations: int
    """Number of iterations until no point moved, at most `max_iter`."""


def fit_kmeans(points_ND: Tensor, clusters: int, *, max_iter: int, n_init: int, seed: int) -> KMeans:
    """Returns the best of `n_init` runs by inertia; see `fit_kmeans_each`."""
    return fit_kmeans_each(points_ND, [clusters], max_iter=max_iter, n_init=n_init, seed=seed)[0]


def fit_kmeans_each(
    points_ND: Tensor, clusters: Sequence[int], *, max_iter: int, n_init: int, seed: int
) -> list[KMeans]:
    """Returns, for each number of clusters, the best of `n_init` runs by inertia, each from random points.

    All runs advance together, so the points are read once per iteration. An empty cluster takes over the
    point that lies farthest from its centroid. With fewer points than `clusters`, each point is its own
    cluster. Raises `UserError` if a number is not finite.
    """
    if lost := int((~points_ND.isfinite()).any(dim=1).sum()):
        raise UserError(
            f"{lost:,} of the {len(points_ND):,} points for k-means hold numbers that are not finite: "
            "look at the features or the encoder that they come from"
        )
    scale = power_of_two(points_ND.float(), (0, 1))
    centred_ND = points_ND.float() / scale
    mean_D = centred_ND.mean(dim=0)
    # Far from the origin, |x - c|^2 computed from x c would lose precision.
    centred_ND -= mean_D
    starts = []
    for count in clusters:
        for restart in range(n_init):
            # Drawn on the CPU, for the same start on every device.
            order_N = torch.randperm(len(points_ND), generator=torch.Generator().manual_seed(seed + restart))
            starts.append(centred_ND[order_N[: min(count, len(points_ND))].to(points_ND.device)])
    runs = [_put_back(run, mean_D, scale) for run in _lockstep(centred_ND, starts, max_iter)]
    return [
        min(runs[first : first + n_init], key=lambda run: run.inertia)
        for first in range(0, len(runs), n_init)
    ]


def _lockstep(points_ND: Tensor, centroids: list[Tensor], max_iter: int) -> list[KMeans]:
    moving = list(range(len(centroids)))
    labels: list[Tensor | None] = [None] * len(centroids)
    done = [0] * len(centroids)
    # A point between two centroids may go to either for an iteration; the last assignment is exact.
    with _rough_products(points_ND.device):
        for _ in range(max_iter):
            found = nearest(points_ND, [centroids[run] for run in moving])
            postprocessed = set()
            for run, (labels_N, distances_N) in zip(moving, found, strict=True):
                last_N, labels[run] = labels[run], labels_N
                if last_N is not None and torch.equal(last_N, labels_N):
                    postprocessed.add(run)
                else:
                    centroids[run] = _means(points_ND, labels_N, distances_N, len(centroids[run]))
                    done[run] += 1
            moving = [run for run in moving if run not in postprocessed]
            if not moving:
                break
    runs = []
    for run, (labels_N, distances_N) in enumerate(nearest(points_ND, centroids)):
        used_K, contiguous_N = labels_N.unique(return_inverse=True)
        runs.append(KMeans(contiguous_N, centroids[run][used_K], float(distances_N.sum()), done[run]))
    return runs


def nearest(points_ND: Tensor, centroids: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Returns the nearest centroid of each point and its squared distance, for each of `centroids`.

    Each of `centroids` is (K, D); each result is (N,) int64 and (N,).
    """
    all_SD = torch.cat(list(centroids))
    half_norms_S = all_SD.square().sum(dim=1) / 2
    sizes = [len(centroids_KD) for centroids_KD in centroids]
    chunk = max(1, DISTANCES_AT_ONCE[points_ND.device.type] // len(all_SD))
    found: list[list[tuple[Tensor, Tensor]]] = []
    for points_MD in points_ND.split(chunk):
        # |x - c|^2 / 2 without |x|^2 / 2, which does not change which centroid is nearest
        partial_MS = torch.addmm(half_norms_S, points_MD, all_SD.T, alpha=-1)
        half_squares_M = points_MD.square().sum(dim=1) / 2
        nearest_of_each = []
        for partial_MK in partial_MS.split(sizes, dim=1):
            smallest_M, labels_M = partial_MK.min(dim=1)
            nearest_of_each.append((labels_M, 2 * (smallest_M + half_squares_M).clamp(min=0)))
        found.append(nearest_of_each)
    joined = []
    for chunks in zip(*found, strict=True):
        labels, distances = zip(*chunks, strict=True)
        joined.append((torch.cat(labels), torch.cat(distances)))
    return joined


def _means(points_ND: Tensor, labels_N: Tensor, distances_N: Tensor, clusters: int) -> Tensor:
    counts_K = torch.bincount(labels_N, minlength=clusters)
    sums_KD = torch.zeros(clusters, points_ND.shape[1], device=points_ND.device, dtype=points_ND.dtype)
    sums_KD.index_add_(0, labels_N, points_ND)
    means_KD = sums_KD / counts_K.clamp(min=1)[:, None]
    # The empty clusters, in order, take the farthest points.
    empty_K = counts_K == 0
    farthest_K = distances_N.topk(clusters).indices
    rank_K = (empty_K.cumsum(dim=0) - 1).clamp(min=0)
    return torch.where(empty_K[:, None], points_ND[farthest_K[rank_K]], means_KD)


def _put_back(run: KMeans, mean_D: Tensor, scale: Tensor) -> KMeans:
    """Converts the result of a run on centred and scaled points to the units of the original points."""
    inertia = run.inertia * float(scale) ** 2
    return KMeans(run.labels_N, (run.centroids_KD + mean_D) * scale, inertia, run.iterations)


@contextmanager
def _rough_products(device: torch.device) -> Iterator[None]:
    """Computes products of float32 matrices with factors cut to bfloat16 (TF32 on CUDA), sums in float32.

    This is more than twice as fast if the device has instructions for it; elsewhere nothing changes.
    """
    before = torch.get_float32_matmul_precision()
    if computes_in_bfloat16(device):
        torch.set_float32_matmul_precision("high" if device.type == "cuda" else "medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
