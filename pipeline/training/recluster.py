"""Clusters recomputed from the encoder's own features: the E step of the EM scheme (arXiv 2202.06670)."""

from typing import Any

import torch
from torch import Tensor

from pipeline.kmeans import fit_kmeans


def recluster(
    embeddings_ND: Tensor, previous_N: Tensor, settings: dict[str, Any], epoch: int, seed: int
) -> tuple[Tensor, dict[str, float]]:
    """Clusters normalised embeddings; returns the new clusters (N,) and their row of the trajectory.

    `embeddings_ND` may be on any device; clusters before and after are on the CPU. `settings` are k-means'
    `clusters`, `max_iter` and `n_init`. Labels are not used.
    """
    fitted = fit_kmeans(embeddings_ND, seed=seed, **settings)
    clusters_N = named_after(previous_N, fitted.labels_N.cpu())
    sizes_K = torch.bincount(clusters_N).double()
    shares_K = sizes_K / sizes_K.sum()
    row = {
        "epoch": epoch,
        "clusters": len(sizes_K),
        "singletons": int((sizes_K == 1).sum()),
        "largest_share": float(shares_K.max()),
        "cluster_entropy_bits": float(-(shares_K * shares_K.log2()).sum()),
        "moved_share": moved_share(previous_N, clusters_N),
    }
    return clusters_N, row


def named_after(before_N: Tensor, after_N: Tensor) -> Tensor:
    """Renumbers the clusters of `after_N` after those of `before_N` that they share the most images with.

    Pairs are matched in descending order of shared images, each cluster once; the numbers stay contiguous
    from 0. A number thus keeps its meaning for a classifier's weights and for the ids in a queue.
    """
    count = int(after_N.max()) + 1
    pairs_P2, shared_P = torch.stack([before_N, after_N], dim=1).unique(dim=0, return_counts=True)
    order_P = shared_P.argsort(descending=True, stable=True)
    number_of: dict[int, int] = {}
    free = dict.fromkeys(range(count))
    for before, after in pairs_P2[order_P].tolist():
        if before in free and after not in number_of:
            number_of[after] = before
            del free[before]
    left = iter(free)
    numbers_K = [number_of[after] if after in number_of else next(left) for after in range(count)]
    return torch.tensor(numbers_K)[after_N]


def moved_share(before_N: Tensor, after_N: Tensor) -> float:
    """Returns the share of images that did not go where most of their former cluster went.

    It is 0 if clusters were only renamed.
    """
    pairs_P2, counts_P = torch.stack([before_N, after_N], dim=1).unique(dim=0, return_counts=True)
    kept_K = torch.zeros(int(before_N.max()) + 1, dtype=counts_P.dtype, device=counts_P.device)
    kept_K.scatter_reduce_(0, pairs_P2[:, 0], counts_P, "amax", include_self=True)
    return 1 - float(kept_K.sum()) / len(before_N)
