"""What clusters and labels say about the accuracy that training on the clusters will reach.

Four measures, each 1 where the labels are the clusters, and all but the first 0 for self-supervision, where
each image is a cluster. They hold for a sample of labelled images: an image's label is compared with those of
the *other* images of its cluster, so that a cluster with one labelled image says nothing.

Shape letters: N images, C non-empty cells of clusters by labels, K clusters.
"""

from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.advice.positive_weights import Floats, PositiveWeights
from pipeline.statistics.contingency import UNKNOWN, Codes, Contingency

COST_OF_MIXED_PAIRS = 0.25
COST_OF_SPLITTING = 0.5
PRIOR_IMAGES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
"""Weights of the labels' overall shares against the images of a cluster, of which the likeliest is used."""


@dataclass(frozen=True, slots=True)
class Predictors:
    information: float
    """I(Z;T) - H(Z|T)/2, over H(T)."""
    batch_information: float
    """The same, with each image weighted by its positives in a batch (`PositiveWeights`)."""
    pairs: float
    """The weight of positives with the image's label, less a quarter of that of other positives, where their
    share is counted from that of images drawn by chance, which few labels make high."""
    alignment: float
    """Centred kernel alignment of clusters and labels, with each block of a kernel divided by its size: the
    square of Tschuprow's T, corrected for small samples (Bergsma 2013, "A bias-correction for Cramér's V and
    Tschuprow's T")."""

    def as_array(self) -> Floats:
        values: Floats = np.array(list(asdict(self).values()))
        return values


NAMES = tuple(Predictors.__dataclass_fields__)


@dataclass(frozen=True)
class Labelled:
    """The labels that candidates are compared with."""

    labels_N: Codes
    """`UNKNOWN` for an image without a label."""
    batch_size: int
    images: int
    """Number of train images that the N rows stand for, N unless they are a sample."""
    row_weights_N: Floats | None = None
    """Number of images that each row stands for, up to a factor; None: as many for each."""

    def of_rows(self, rows: NDArray[np.intp]) -> "Labelled":
        """Returns a sample of these images, which stands for as many train images."""
        weights_N = None if self.row_weights_N is None else self.row_weights_N[rows]
        return replace(self, labels_N=self.labels_N[rows], row_weights_N=weights_N)

    def cluster_shares(self, clusters_N: Codes) -> Floats:
        """Returns (K,) the share of the train images in each cluster."""
        known_N = clusters_N != UNKNOWN
        weights_N = np.ones(len(clusters_N)) if self.row_weights_N is None else self.row_weights_N
        shares_K: Floats = np.bincount(clusters_N[known_N], weights_N[known_N]) / weights_N.sum()
        return shares_K

    @cached_property
    def counts_L(self) -> NDArray[np.int64]:
        return np.bincount(self.labels_N[self.labels_N >= 0])

    @property
    def why_too_few(self) -> str | None:
        """Reason why these labels cannot compare clusterings, to go after "there are"; None if they can."""
        if np.count_nonzero(self.counts_L) < 2:
            return "fewer than two labels"
        return "no two images with the same label" if self.counts_L.max() < 2 else None

    @cached_property
    def shares_L(self) -> Floats:
        shares_L: Floats = self.counts_L / self.counts_L.sum()
        return shares_L

    @cached_property
    def chance(self) -> float:
        """Share of the other labelled images that have an image's label, on average."""
        rows = int(self.counts_L.sum())
        return float(self.counts_L @ (self.counts_L - 1)) / (rows * (rows - 1))

    @cached_property
    def weights(self) -> PositiveWeights:
        return PositiveWeights(self.images, self.batch_size)

    @cached_property
    def ceiling(self) -> tuple[float, float, float]:
        """H(T), H(T) as a batch sees it, and the mean weight: the measures of the labels themselves."""
        bits_L = -np.log2(np.maximum(self.shares_L, 1e-300))
        weighted = self.shares_L * self.weights.of(self.shares_L * self.images)
        return float(self.shares_L @ bits_L), float(weighted @ bits_L), float(weighted.sum())


def predictors_of(clusters_N: Codes, labelled: Labelled) -> Predictors:
    """Measures one clustering; an image whose cluster is `UNKNOWN` is alone in its cluster.

    Raises `ValueError` for too few labels.
    """
    if labelled.why_too_few is not None:
        raise ValueError(f"there are {labelled.why_too_few}")
    known = int(labelled.counts_L.sum())
    table = Contingency.of_codes(clusters_N, labelled.labels_N)
    shares_K = labelled.cluster_shares(clusters_N)
    weights_K = labelled.weights.of(shares_K * labelled.images)
    bits_K = -np.log2(np.where(shares_K > 0, shares_K, 1.0))
    counts_C, weights_C = table.counts_C, weights_K[table.clusters_C]
    gained_C = _information_left_out(table, labelled.shares_L)
    # -log2 p(z|t) = -log2 p(z) - i, so that i - h/2 = 1.5 i - (-log2 p(z))/2.
    net_C = (1 + COST_OF_SPLITTING) * gained_C - COST_OF_SPLITTING * bits_K[table.clusters_C]
    same_C = (_same_label_left_out(table) - labelled.chance) / (1 - labelled.chance)
    of_pairs_C = weights_C * (same_C - COST_OF_MIXED_PAIRS * (1 - same_C))
    entropy, batch_entropy, weight = labelled.ceiling
    return Predictors(
        information=float(counts_C @ net_C) / known / entropy,
        batch_information=float(counts_C @ (weights_C * net_C)) / known / batch_entropy,
        pairs=float(counts_C @ of_pairs_C) / known / weight,
        alignment=_alignment(table) * table.rows / known,
    )


def _information_left_out(table: Contingency, shares_L: Floats) -> Floats:
    """Returns (C,) log2 p(t | z) / p(t) of an image, where p(t | z) is learnt from the other images.

    With a Dirichlet prior around the labels' shares, whose weight is the likeliest of `PRIOR_IMAGES`.
    """
    counts_C, sizes_C = table.counts_C.astype(np.float64), table.cluster_sizes_K[table.clusters_C]
    shares_C = shares_L[table.labels_C]
    predicted = (
        np.log2((counts_C - 1 + prior * shares_C) / (sizes_C - 1 + prior) / shares_C)
        for prior in PRIOR_IMAGES
    )
    return max(predicted, key=lambda bits_C: float(counts_C @ bits_C), default=np.zeros(0))


def _same_label_left_out(table: Contingency) -> Floats:
    """Returns (C,) the share of the other labelled images of the cluster that have the image's label.

    Where there is no other one, the mean of the clusters that have some.
    """
    counts_C, others_C = table.counts_C, table.cluster_sizes_K[table.clusters_C] - 1
    shared = others_C > 0
    same_C = np.divide(counts_C - 1, others_C, out=np.zeros(len(counts_C)), where=shared)
    if shared.any():
        same_C[~shared] = np.average(same_C[shared], weights=counts_C[shared])
    return same_C


def _alignment(table: Contingency) -> float:
    rows = table.rows
    clusters, labels = (
        int(np.count_nonzero(sizes)) for sizes in (table.cluster_sizes_K, table.label_sizes_L)
    )
    if rows < 2 or min(clusters, labels) < 2:
        return 0.0
    expected = table.cluster_sizes_K[table.clusters_C] * table.label_sizes_L[table.labels_C]
    squared = float((table.counts_C.astype(np.float64) ** 2 / expected).sum()) - 1
    corrected = max(0.0, squared - (clusters - 1) * (labels - 1) / (rows - 1))
    freedom = [number - (number - 1) ** 2 / (rows - 1) - 1 for number in (clusters, labels)]
    return corrected / max(np.sqrt(max(freedom[0], 0.0) * max(freedom[1], 0.0)), 1e-12) if corrected else 0.0
