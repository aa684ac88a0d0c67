"""Statistics of one clustering under the keys of `statistics.json`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.label_determination import label_error_reduction
from pipeline.runtime.seeding import numpy_generator
from pipeline.statistics.batch_statistics import (
    anchors_without_positives,
    expected_positives,
    largest_pair_share,
    objective_ceiling_bits,
)
from pipeline.statistics.contingency import Contingency
from pipeline.statistics.corrected import ESTIMATOR, corrected_information, is_covered, joint_coverage
from pipeline.statistics.entropy import entropy_bits, sizes_and_times
from pipeline.statistics.expected_information import independence_p_value
from pipeline.statistics.findings import NOTHING_STOPPED, StopList, findings_of
from pipeline.statistics.information import Information
from pipeline.statistics.label_leakage import Tags, tags_that_name_labels
from pipeline.statistics.values import Column, encoded

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class SizeStatistics:
    """Statistics over all rows that have a cluster."""

    rows: int
    clusters: int
    singletons: int
    """Number of clusters of one row."""
    largest_share: float
    """Share of the rows that are in the largest cluster."""
    size_quantiles: dict[str, int]
    """Cluster sizes in rows, by the share of clusters that are no larger."""
    cluster_entropy_bits: float
    """H(Z)."""


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """Statistics of a batch; None without a batch size."""

    batch_size: int | None = None
    batch_ceiling_bits: float | None = None
    """log2 of the batch size, or of the number of rows if a batch holds all of them."""
    objective_ceiling_bits: float | None = None
    """min(H(Z), `batch_ceiling_bits`)."""
    anchors_without_positives: float | None = None
    """Share of anchors with no other image of their cluster in their batch."""
    expected_positives: float | None = None
    """Mean number of other images of an anchor's cluster in its batch."""


@dataclass(frozen=True, slots=True)
class LabelStatistics:
    """Statistics over the rows whose label is known; None if there are none.

    `corrected` values are estimates for the population.
    """

    labels: int = 0
    labelled_clusters: int | None = None
    """Number of clusters with a labelled row."""
    labelled_cluster_entropy_bits: float | None = None
    """H(Z) over the labelled rows: equals I + H(Z|T), and `cluster_entropy_bits` if all rows have a label."""
    label_entropy_bits: float | None = None
    """H(T)."""
    mutual_information_bits: float | None = None
    """I(Z;T), plug-in, as reported in the papers."""
    mutual_information_corrected_bits: float | None = None
    """None, like all corrected values, if the sample has seen too little of its population."""
    mutual_information_corrected_low_bits: float | None = None
    mutual_information_corrected_high_bits: float | None = None
    conditional_entropy_bits: float | None = None
    """H(Z|T), plug-in."""
    conditional_entropy_corrected_bits: float | None = None
    conditional_entropy_corrected_low_bits: float | None = None
    conditional_entropy_corrected_high_bits: float | None = None
    correction: str | None = None
    """Estimator of the corrected values."""
    joint_coverage: float | None = None
    """Share of the population whose cell, of cluster and label, was seen."""
    label_conditional_entropy_bits: float | None = None
    """H(T|Z), plug-in."""
    expected_mutual_information_bits: float | None = None
    """Expected I(Z;T) of random clusters of the same sizes."""
    independence_p_value: float | None = None
    """Probability of an I(Z;T) at least as large as this one by chance."""
    adjusted_mutual_information: float | None = None
    normalized_mutual_information: float | None = None
    label_error_reduction: float | None = None
    """Share of the most frequent label's errors avoided (`pipeline.dataset.label_determination`)."""
    purity: float | None = None
    """Share of rows that carry the most frequent label of their cluster."""


def describe_clustering(
    method: str,
    clusters_N: NDArray[np.int64],
    labels: Column,
    *,
    seed: int,
    batch_size: int | None = None,
    tags: Tags | None = None,
    columns_determining_labels: Sequence[str] = (),
    stop_list: StopList = NOTHING_STOPPED,
) -> dict[str, Any]:
    """Computes the statistics of `clusters_N` (integers from 0) against `labels`, ready for JSON.

    Sizes and H(Z) are over all rows. Statistics that need the labels are over the rows whose label is known
    (not null, NaN or blank), and None if there are none. `batch_size` counts images; without it, the
    statistics that depend on the batch are None. `tags` holds each row's hashtags or words and is searched
    for those that name the label; those of `stop_list` have already been removed. `method` decides which
    findings are intended and therefore left out (see `findings`).
    """
    label_codes_N, label_values = encoded(labels)
    assert label_codes_N.shape == clusters_N.shape, "one label, known or not, for each row"
    naming = [] if tags is None else tags_that_name_labels(tags, label_codes_N, label_values)
    return describe_counts(
        method,
        Contingency.of_codes(clusters_N, label_codes_N),
        np.bincount(clusters_N),
        seed=seed,
        batch_size=batch_size,
        tags_naming_labels=naming,
        columns_determining_labels=columns_determining_labels,
        stop_list=stop_list,
    )


def describe_counts(
    method: str,
    labelled: Contingency,
    cluster_sizes_K: NDArray[np.int64],
    *,
    seed: int,
    batch_size: int | None = None,
    tags_naming_labels: Sequence[str] = (),
    columns_determining_labels: Sequence[str] = (),
    stop_list: StopList = NOTHING_STOPPED,
) -> dict[str, Any]:
    """Computes the same from the table of the labelled rows and the cluster sizes over all rows."""
    of_labels = _of_labels(labelled, seed) if labelled.rows else LabelStatistics()
    of_batches = _of_batches(cluster_sizes_K, batch_size) if batch_size is not None else BatchStatistics()
    statistics = {
        "method": method,
        **asdict(_of_sizes(cluster_sizes_K)),
        "rows_unlabelled": int(cluster_sizes_K.sum()) - labelled.rows,
        "largest_pair_share": largest_pair_share(cluster_sizes_K, batch_size),
        **asdict(of_batches),
        **asdict(of_labels),
    }
    findings = findings_of(statistics, tags_naming_labels, columns_determining_labels, stop_list)
    return statistics | {"findings": findings}


def _of_sizes(cluster_sizes_K: NDArray[np.int64]) -> SizeStatistics:
    sizes, times = sizes_and_times(cluster_sizes_K)
    rows = int(sizes @ times)
    return SizeStatistics(
        rows=rows,
        clusters=int(times.sum()),
        singletons=int(times[sizes == 1].sum()),
        largest_share=int(sizes[-1]) / rows if rows else 0.0,
        size_quantiles=_quantiles(sizes, times) if rows else {},
        cluster_entropy_bits=entropy_bits(cluster_sizes_K),
    )


def _quantiles(sizes: NDArray[np.int64], times: NDArray[np.int64]) -> dict[str, int]:
    """Returns by q the smallest size that a share q of the clusters does not exceed."""
    cumulative = np.cumsum(times)
    ranks = np.maximum(1, np.ceil(np.array(QUANTILES) * cumulative[-1]))
    found = sizes[np.searchsorted(cumulative, ranks)]
    return {f"{q:g}": int(size) for q, size in zip(QUANTILES, found, strict=True)}


def _of_batches(cluster_sizes_K: NDArray[np.int64], batch_size: int) -> BatchStatistics:
    in_batch = max(1, min(batch_size, int(cluster_sizes_K.sum())))
    return BatchStatistics(
        batch_size=batch_size,
        batch_ceiling_bits=float(np.log2(in_batch)),
        objective_ceiling_bits=objective_ceiling_bits(entropy_bits(cluster_sizes_K), in_batch),
        anchors_without_positives=anchors_without_positives(cluster_sizes_K, batch_size),
        expected_positives=expected_positives(cluster_sizes_K, batch_size),
    )


def _of_labels(table: Contingency, seed: int) -> LabelStatistics:
    plug_in = Information(table)
    mutual, by_chance = plug_in.mutual_information_bits, plug_in.expected_mutual_information_bits
    shuffler = numpy_generator(seed, "statistics", "independence")
    return LabelStatistics(
        labels=int(np.count_nonzero(table.label_sizes_L)),
        labelled_clusters=int(np.count_nonzero(table.cluster_sizes_K)),
        labelled_cluster_entropy_bits=plug_in.cluster_entropy_bits,
        label_entropy_bits=plug_in.label_entropy_bits,
        mutual_information_bits=mutual,
        conditional_entropy_bits=plug_in.conditional_entropy_bits,
        joint_coverage=joint_coverage(table),
        label_conditional_entropy_bits=plug_in.label_conditional_entropy_bits,
        expected_mutual_information_bits=by_chance,
        independence_p_value=independence_p_value(table, mutual, by_chance, shuffler),
        adjusted_mutual_information=plug_in.adjusted_mutual_information,
        normalized_mutual_information=plug_in.normalized_mutual_information,
        label_error_reduction=label_error_reduction(table.clusters_C, table.labels_C, table.counts_C),
        purity=plug_in.purity,
        **_corrected(table),
    )


def _corrected(table: Contingency) -> dict[str, Any]:
    if not is_covered(table):
        return {}
    corrected = corrected_information(table)
    mutual, conditional = corrected.mutual_information, corrected.conditional_entropy
    return {
        "correction": ESTIMATOR,
        "mutual_information_corrected_bits": mutual.estimate,
        "mutual_information_corrected_low_bits": mutual.low,
        "mutual_information_corrected_high_bits": mutual.high,
        "conditional_entropy_corrected_bits": conditional.estimate,
        "conditional_entropy_corrected_low_bits": conditional.low,
        "conditional_entropy_corrected_high_bits": conditional.high,
    }
