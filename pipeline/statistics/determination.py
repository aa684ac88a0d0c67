"""Whether clusters give the label away: how well the other rows of a row's cluster tell its label."""

import numpy as np

from pipeline.statistics.contingency import Contingency

LEAST_REDUCTION = 0.95
LEAST_SHARE_IN_COMPANY, LEAST_ROWS = 0.5, 10
"""Of the rows, those that share their cluster with another one: identifiers determine every label."""


def determines_labels(table: Contingency) -> bool:
    reduction = label_error_reduction(table)
    return reduction is not None and reduction >= LEAST_REDUCTION


def label_error_reduction(table: Contingency) -> float | None:
    """Goodman and Kruskal's lambda (1954) of the label, each row's label guessed from the other rows.

    The share of the errors of the most frequent label that go where each row is given the label which is
    the most frequent one among the other rows of its cluster (a tie is an error). Over the rows that share
    their cluster; None where these are few, or have one label.
    """
    cells = np.flatnonzero(table.cluster_sizes_K[table.clusters_C] > 1)
    counts, clusters, labels = table.counts_C[cells], table.clusters_C[cells], table.labels_C[cells]
    rows = int(counts.sum())
    if rows < max(LEAST_ROWS, LEAST_SHARE_IN_COMPANY * table.rows):
        return None
    guessed_without = rows - int(np.bincount(labels, weights=counts).max())
    if guessed_without == 0:
        return None
    # The two most frequent labels of each cluster, in its first two places.
    order = np.lexsort((-counts, clusters))
    counts, clusters = counts[order], clusters[order]
    first = np.flatnonzero(np.diff(clusters, prepend=-1))
    following = np.append(counts, 0)[first + 1]
    is_alone = np.append(clusters, -1)[first + 1] != clusters[first]
    second = np.where(is_alone, 0, following)
    right = int(counts[first][counts[first] - 1 > second].sum())
    return 1 - (rows - right) / guessed_without
