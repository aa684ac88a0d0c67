"""What a batch of the training sees of a clustering: positives and the ceiling."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.entropy import sizes_and_times
from pipeline.statistics.factorials import log_hypergeometric


def anchors_without_positives(cluster_sizes_K: NDArray[np.integer[Any]], batch_size: int) -> float:
    """The probability that an anchor finds no other image of its cluster in its batch.

    The batch is drawn without replacement, so of the other B - 1 images the number from the anchor's
    cluster is hypergeometric; exact. Such an anchor has its own second view as its only positive, which is
    SimCLR. A batch size above the number of images counts as all images; 1.0 for no rows.
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
    """How many other images of its cluster an anchor meets in its batch, on average over the images."""
    sizes, times = sizes_and_times(cluster_sizes_K)
    rows = int(sizes @ times)
    if rows <= 1:
        return 0.0
    others_in_batch = min(batch_size, rows) - 1
    return float((times * sizes) @ (sizes - 1)) / rows * others_in_batch / (rows - 1)


def largest_pair_share(cluster_sizes_K: NDArray[np.integer[Any]], batch_size: int | None) -> float:
    """The share of the positive pairs of views in a batch that lie in the largest cluster; 0 for no rows.

    Each of B images gives two views. A view's positives are the other view of its image and both views of
    the other images of its cluster, of which `expected_positives` counts the mean. The share is one of
    expected numbers. Without a batch size, as if a batch held all images.
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
    """min(H(Z), log2 n): what Cl-InfoNCE cannot exceed with n images a batch.

    The objective of Tsai et al. (2022, "Learning Weakly-Supervised Contrastive Representations") is a lower
    bound of a divergence that H(Z) bounds, and n pairs cannot show more than log2 n.
    """
    return min(cluster_entropy_bits, math.log2(batch_size))
