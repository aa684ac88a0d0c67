"""Statistics of a clustering in a training batch: positives and the ceiling."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.entropy import sizes_and_times
from pipeline.statistics.factorials import log_hypergeometric


def anchors_without_positives(cluster_sizes_K: NDArray[np.integer[Any]], batch_size: int) -> float:
    """Returns the probability that an anchor finds no other image of its cluster in its batch.

    The batch is drawn without replacement, so the number of the other B - 1 images that are from the anchor's
    cluster is hypergeometric; the result is exact. The only positive of such an anchor is its own second
    view, as in SimCLR. A batch size above the number of images counts as all images. Returns 1.0 for at most
    one row.
    """
    sizes, times = sizes_and_times(cluster_sizes_K)
    rows = int(sizes @ times)
    if rows <= 1:
        return 1.0
    others_in_batch = min(batch_size, rows) - 1
    alone = np.exp(log_hypergeometric(0, sizes - 1, others_in_batch, rows - 1))
    alone[sizes == 1] = 1.0
    return min(1.0, float((times * sizes) @ alone) / rows)


def expected_positives(cluster_sizes_K: NDArray[np.integer[Any]], batch_size: int) -> float:
    """Returns the mean number of other images of an anchor's cluster in its batch, over all images."""
    sizes, times = sizes_and_times(cluster_sizes_K)
    rows = int(sizes @ times)
    if rows <= 1:
        return 0.0
    others_in_batch = min(batch_size, rows) - 1
    return float((times * sizes) @ (sizes - 1)) / rows * others_in_batch / (rows - 1)


def largest_pair_share(cluster_sizes_K: NDArray[np.integer[Any]], batch_size: int | None) -> float:
    """Returns the largest cluster's share of the positive pairs of views in a batch; 0 for no rows.

    Each of B images gives two views. A view's positives are the other view of its image and both views of the
    other images of its cluster, whose mean number is `expected_positives`. The share is a ratio of expected
    numbers. Without a batch size, a batch holds all images.
    """
    sizes, times = sizes_and_times(cluster_sizes_K)
    rows = int(sizes @ times)
    if rows == 0:
        return 0.0
    others_in_batch = (rows if batch_size is None else min(batch_size, rows)) - 1
    met = others_in_batch / max(rows - 1, 1)
    pairs = sizes * (1 + 2 * met * (sizes - 1))
    return float(pairs[-1] / (times @ pairs))


def objective_ceiling_bits(cluster_entropy_bits: float, batch_size: int) -> float:
    """Returns min(H(Z), log2 n), the upper bound of Cl-InfoNCE with n images per batch.

    The objective of Tsai et al. (2022, "Learning Weakly-Supervised Contrastive Representations") is a lower
    bound of a divergence that H(Z) bounds, and n pairs cannot show more than log2 n.
    """
    return min(cluster_entropy_bits, math.log2(batch_size))
