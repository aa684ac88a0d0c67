"""Policies for images without a cluster, and for clusters that are too small."""

from dataclasses import dataclass

import numpy as np

from pipeline.clustering.base import Clusters
from pipeline.config.cluster import ClusterParams
from pipeline.runtime.errors import UserError
from pipeline.statistics.contingency import UNKNOWN


@dataclass(frozen=True)
class Postprocessed:
    """A clustering after the policies."""

    labels_N: np.ndarray
    """int64, contiguous from 0; `UNKNOWN` for images that are not trained on."""
    counts: dict[str, int]
    """Number of images that each policy affects, by the keys of `statistics.json`."""


def apply_policies(clusters: Clusters, params: ClusterParams) -> Postprocessed:
    """Applies `cluster.min_size`, `cluster.small` and `cluster.missing`, in this order."""
    labels_N = clusters.labels_N.copy()
    missing_N = labels_N == UNKNOWN
    sizes_K = np.bincount(labels_N[~missing_N])
    small_K = sizes_K < params.min_size
    small_N = ~missing_N & np.append(small_K, False)[labels_N]
    if params.small == "nearest" and small_N.any():
        labels_N = _nearest_large(clusters, sizes_K, small_K)[labels_N]
        labels_N[missing_N] = UNKNOWN
    if params.small == "instance":
        labels_N = _as_singletons(labels_N, small_N)
    if params.missing == "instance":
        labels_N = _as_singletons(labels_N, missing_N)
    elif params.missing == "own":
        labels_N[missing_N] = labels_N.max(initial=-1) + 1
    dropped = int(np.count_nonzero(labels_N == UNKNOWN))
    if dropped == len(labels_N):
        raise UserError("cluster.missing=drop leaves no image: set it to instance or own")
    counts = {
        "images_missing": int(missing_N.sum()),
        "images_dropped": dropped,
        "images_of_small_clusters": int(small_N.sum()),
    }
    return Postprocessed(_contiguous(labels_N), counts)


def _as_singletons(labels_N: np.ndarray, chosen_N: np.ndarray) -> np.ndarray:
    """Puts each chosen image into its own cluster."""
    first = labels_N.max(initial=-1) + 1
    labels_N = labels_N.copy()
    labels_N[chosen_N] = first + np.arange(np.count_nonzero(chosen_N))
    return labels_N


def _nearest_large(clusters: Clusters, sizes_K: np.ndarray, small_K: np.ndarray) -> np.ndarray:
    """Returns the cluster that receives each cluster's images: (K,) int64.

    The nearest cluster differs in the fewest values; ties go to the largest, then to the first.
    """
    if clusters.common_values is None:
        raise UserError(
            "cluster.small=nearest needs clusters from attributes, hashtags or a hierarchy: set it to "
            "keep or instance"
        )
    target_K = np.arange(len(sizes_K))
    large = np.flatnonzero(~small_K)
    values_of_large = [clusters.common_values[other] for other in large.tolist()]
    for small in np.flatnonzero(small_K).tolist() if len(large) else ():
        values = clusters.common_values[small]
        differences = np.array([len(values ^ others) for others in values_of_large])
        target_K[small] = large[np.lexsort((-sizes_K[large], differences))[0]]
    return target_K


def _contiguous(labels_N: np.ndarray) -> np.ndarray:
    known_N = labels_N != UNKNOWN
    renumbered_N = np.full(len(labels_N), UNKNOWN, np.int64)
    renumbered_N[known_N] = np.unique(labels_N[known_N], return_inverse=True)[1]
    return renumbered_N
