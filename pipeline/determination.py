"""Whether clusters give the label away: how well the other rows of a row's cluster tell its label.

Shape letter: C non-empty cells of the table of clusters by labels.
"""

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]

LEAST_REDUCTION = 0.95
LEAST_SHARE_IN_COMPANY, LEAST_ROWS = 0.5, 10
"""Of the rows, those that share their cluster with another one: identifiers determine every label."""


def determines_labels(codes_N: Codes, labels_N: Codes) -> bool:
    """Whether the values of a column do, over the rows where both codes are known (not negative)."""
    known_N = (codes_N >= 0) & (labels_N >= 0)
    labels = int(labels_N.max(initial=0)) + 1
    keys_C, counts_C = np.unique(codes_N[known_N] * labels + labels_N[known_N], return_counts=True)
    reduction = label_error_reduction(keys_C // labels, keys_C % labels, counts_C)
    return reduction is not None and reduction >= LEAST_REDUCTION


def label_error_reduction(clusters_C: Codes, labels_C: Codes, counts_C: Codes) -> float | None:
    """Goodman and Kruskal's lambda (1954) of the label, each row's label guessed from the other rows.

    The share of the errors of the most frequent label that go where each row is given the label which is
    the most frequent one among the other rows of its cluster (a tie is an error). Over the rows that share
    their cluster; None where these are few, or have one label.
    """
    rows_K = np.bincount(clusters_C, weights=counts_C)
    cells = np.flatnonzero(rows_K[clusters_C] > 1)
    counts, clusters, labels = counts_C[cells], clusters_C[cells], labels_C[cells]
    rows = int(counts.sum())
    if rows < max(LEAST_ROWS, LEAST_SHARE_IN_COMPANY * counts_C.sum()):
        return None
    guessed_without = rows - int(np.bincount(labels, weights=counts).max())
    if guessed_without == 0:
        return None
    # The two most frequent labels of each cluster, in its first two places.
    order = np.lexsort((-counts, clusters))
    counts, clusters = counts[order], clusters[order]
    first = np.flatnonzero(np.diff(clusters, prepend=-1))
    is_alone = np.append(clusters, -1)[first + 1] != clusters[first]
    second = np.where(is_alone, 0, np.append(counts, 0)[first + 1])
    right = int(counts[first][counts[first] - 1 > second].sum())
    return 1 - (rows - right) / guessed_without
