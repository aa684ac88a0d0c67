"""Whether clusters determine the labels: how well the other rows of its cluster predict the label of a row.

Shape letter: C non-empty cells of the table of clusters by labels.
"""

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]

LEAST_REDUCTION = 0.95
LEAST_SHARE_REPEATED, LEAST_ROWS = 0.5, 10
"""Minimum rows that share their cluster with another row, as a share and as a number: a column of identifiers
determines every label trivially."""


def determines_labels(codes_N: Codes, labels_N: Codes) -> bool:
    """Returns whether the codes (N,) determine the labels (N,), on the rows where neither is negative.

    Negative codes are unknown.
    """
    known_N = (codes_N >= 0) & (labels_N >= 0)
    labels = int(labels_N.max(initial=0)) + 1
    keys_C, counts_C = np.unique(codes_N[known_N] * labels + labels_N[known_N], return_counts=True)
    reduction = label_error_reduction(keys_C // labels, keys_C % labels, counts_C)
    return reduction is not None and reduction >= LEAST_REDUCTION


def label_error_reduction(clusters_C: Codes, labels_C: Codes, counts_C: Codes) -> float | None:
    """Returns Goodman and Kruskal's lambda (1954) of labels given clusters, predicting a row without itself.

    This is the share of the errors of always predicting the most frequent label that is avoided by predicting
    the most frequent label among the other rows of the cluster (a tie is an error). Only rows that share
    their cluster count; None if these are few, or have a single label.
    """
    rows_K = np.bincount(clusters_C, weights=counts_C)
    cells = np.flatnonzero(rows_K[clusters_C] > 1)
    counts, clusters, labels = counts_C[cells], clusters_C[cells], labels_C[cells]
    rows = int(counts.sum())
    if rows < max(LEAST_ROWS, LEAST_SHARE_REPEATED * counts_C.sum()):
        return None
    errors_without_clusters = rows - int(np.bincount(labels, weights=counts).max())
    if errors_without_clusters == 0:
        return None
    # The two most frequent labels of each cluster, in its first two places.
    order = np.lexsort((-counts, clusters))
    counts, clusters = counts[order], clusters[order]
    first = np.flatnonzero(np.diff(clusters, prepend=-1))
    is_alone = np.append(clusters, -1)[first + 1] != clusters[first]
    second = np.where(is_alone, 0, np.append(counts, 0)[first + 1])
    correct = int(counts[first][counts[first] - 1 > second].sum())
    return 1 - (rows - correct) / errors_without_clusters
