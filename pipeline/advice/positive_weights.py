"""The weight that the loss puts on positives from other images, by the size of an image's cluster."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.factorials import log_hypergeometric

Floats = NDArray[np.float64]

EXACT_SIZES, CURVE_POINTS = 256, 512
"""Sizes up to which weights are exact, and number of larger ones between which they are interpolated, with an
error below 1e-4."""
MOST_POSITIVES = 512
"""Number of an image's positives in a batch above which one more changes no weight by 1e-6."""


class PositiveWeights:
    """The expected weight of an image's positives from other images, in its loss, by its cluster's size.

    An image with m other images of its cluster in its batch has 2m + 1 positive views, one of which is its
    own: E[2m / (2m + 1)] over m, which is hypergeometric. 0 for clusters of one image, near 1 for large ones.
    """

    def __init__(self, images: int, batch_size: int) -> None:
        exact, curve = min(images, EXACT_SIZES), []
        if images > exact:
            curve = np.unique(np.geomspace(exact, images, CURVE_POINTS).astype(np.int64)).tolist()
        self._sizes_S = np.array([*range(1, exact + 1), *curve])
        others = min(batch_size, images) - 1
        counts = np.arange(min(others, MOST_POSITIVES) + 1)
        probabilities_SM = np.exp(
            log_hypergeometric(counts, self._sizes_S[:, None] - 1, others, max(images - 1, 1))
        )
        # What is left has more positives than counted.
        more_S = np.maximum(0.0, 1 - probabilities_SM.sum(axis=1))
        self._weights_S = probabilities_SM @ (2 * counts / (2 * counts + 1)) + more_S

    def of(self, sizes_K: NDArray[Any]) -> Floats:
        """Returns (K,) the weights of clusters of these sizes, possibly fractions; 0 up to a size of 1."""
        weights_K: Floats = np.interp(sizes_K, self._sizes_S, self._weights_S)
        return weights_K
