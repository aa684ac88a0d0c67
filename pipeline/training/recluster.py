"""Clusters remade from the encoder's own features: the E step of the EM scheme (arXiv 2202.06670)."""

from typing import Any

import torch
from torch import Tensor

from pipeline.kmeans import fit_kmeans


def recluster(
    embeddings_ND: Tensor, previous_N: Tensor, settings: dict[str, Any], epoch: int, seed: int
) -> tuple[Tensor, dict[str, float]]:
    """K-means on normalised embeddings. Returns the new clusters (N,) and their row of the trajectory.

    `embeddings_ND` lie on any device, clusters before and after on the CPU.

    `settings` are k-means' `clusters`, `max_iter` and `n_init`; labels play no part.
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
    """`after_N` with its clusters numbered after those that they share the most images with.

    Pairs are taken from the largest on, each cluster once; the numbers stay contiguous from 0. So a number
    keeps its meaning, for a classifier's weights and for what a queue remembers.
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
    """Share of images whose cluster is not where most of their former cluster went: 0 after renaming."""
    pairs_P2, counts_P = torch.stack([before_N, after_N], dim=1).unique(dim=0, return_counts=True)
    kept_K = torch.zeros(int(before_N.max()) + 1, dtype=counts_P.dtype, device=counts_P.device)
    kept_K.scatter_reduce_(0, pairs_P2[:, 0], counts_P, "amax", include_self=True)
    return 1 - float(kept_K.sum()) / len(before_N)
