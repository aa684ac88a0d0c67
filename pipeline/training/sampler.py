"""Which images make a batch. Shape letters: N train images, P pairs, S steps, B images a step.

Everything follows from a seed and the clusters: an epoch that resumes in the middle skips what it has seen.
"""

import torch
from torch import Tensor


def shuffled_batches(order_N: Tensor, batch_size: int) -> Tensor:
    """(S, B): the order cut into batches; the images that fill none sit out."""
    steps = len(order_N) // batch_size
    return order_N[: steps * batch_size].view(steps, batch_size)


def cluster_batches(order_N: Tensor, clusters_N: Tensor, batch_size: int) -> Tensor:
    """(S, B): batches of pairs, so that each image meets another one of its cluster.

    Within each cluster neighbours in the order are paired, and the pairs are dealt in the order of their
    first image. The last of an odd cluster is paired with the cluster's first image, which is so seen
    twice; the only image of its cluster is paired with itself.
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
    """For each of `images` another image of its cluster, drawn evenly; itself where there is no other."""
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
