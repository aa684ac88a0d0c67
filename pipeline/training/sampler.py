"""The composition of batches. Shape letters: N train images, P pairs, S steps, B images per step.

Everything follows from a seed and the clusters, so an epoch that resumes in the middle can skip the batches
it has already seen.
"""

import torch
from torch import Tensor


def shuffled_batches(order_N: Tensor, batch_size: int) -> Tensor:
    """Cuts the order into batches (S, B); images that do not fill a batch are left out."""
    steps = len(order_N) // batch_size
    return order_N[: steps * batch_size].view(steps, batch_size)


def cluster_batches(order_N: Tensor, clusters_N: Tensor, batch_size: int) -> Tensor:
    """Returns batches (S, B) of pairs, so that each image occurs together with another one of its cluster.

    Within each cluster, neighbours in the order are paired, and the pairs are dealt in the order of their
    first image. The last image of a cluster of odd size is paired with the cluster's first image, which thus
    occurs twice; the only image of a cluster is paired with itself.
    """
    clusters_in_order_N = clusters_N[order_N]
    # Stable: within a cluster, images keep the order of the shuffle.
    by_cluster_N = clusters_in_order_N.argsort(stable=True)
    sizes_K = torch.bincount(clusters_N)
    starts_K = sizes_K.cumsum(0) - sizes_K
    cluster_of_N = clusters_in_order_N[by_cluster_N]
    rank_in_cluster_N = torch.arange(len(order_N)) - starts_K[cluster_of_N]
    first_P = (rank_in_cluster_N % 2 == 0).nonzero()[:, 0]
    is_last_P = rank_in_cluster_N[first_P] + 1 == sizes_K[cluster_of_N[first_P]]
    second_P = torch.where(is_last_P, starts_K[cluster_of_N[first_P]], first_P + 1)
    pairs_P2 = torch.stack([by_cluster_N[first_P], by_cluster_N[second_P]], dim=1)
    dealt_P2 = pairs_P2[pairs_P2[:, 0].argsort()]
    steps = 2 * len(dealt_P2) // batch_size
    return order_N[dealt_P2.flatten()[: steps * batch_size]].view(steps, batch_size)


def partners(images: Tensor, clusters_N: Tensor, seed: int) -> Tensor:
    """Draws uniformly, for each of `images`, another image of its cluster; itself if there is no other."""
    generator = torch.Generator().manual_seed(seed)
    by_cluster_N = clusters_N.argsort(stable=True)
    rank_N = torch.empty_like(by_cluster_N)
    rank_N[by_cluster_N] = torch.arange(len(by_cluster_N))
    sizes_K = torch.bincount(clusters_N)
    starts_K = sizes_K.cumsum(0) - sizes_K
    flat = images.flatten()
    sizes, starts = sizes_K[clusters_N[flat]], starts_K[clusters_N[flat]]
    # A step of 1 to size - 1 around the cluster's ring never comes back to the image itself.
    steps = 1 + (torch.rand(len(flat), generator=generator) * (sizes - 1)).long()
    return by_cluster_N[starts + (rank_N[flat] - starts + steps) % sizes].view_as(images)
