"""Exact counts of the rows of each cluster and label: the table from which all statistics are computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
Counts = NDArray[np.int64]

UNKNOWN = -1
"""Code of an unknown value."""

_SMALL_TABLE = 1 << 20
_CELLS_PER_ROW = 4
"""Tables of up to this many cells, or this many cells per row, are counted by address, not by sorting."""

_SAMPLED_ROWS, _MANY_IN_SAMPLE = 1 << 16, 8
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Contingency:
    """The non-empty cells of a table of K clusters by L labels.

    A code that never occurs (a size of 0) changes no statistic, so codes need not be contiguous.
    """

    keys_C: Codes
    """Ascending keys: cluster * L + label."""
    counts_C: Counts
    """Counts of at least 1."""
    cluster_sizes_K: Counts
    label_sizes_L: Counts

    @classmethod
    def of_codes(cls, clusters_N: NDArray[np.integer[Any]], labels_N: NDArray[np.integer[Any]]) -> Self:
        """Counts the rows whose two codes are both known (not negative).

        Raises `ValueError` for arrays of different lengths.
        """
        if clusters_N.shape != labels_N.shape or clusters_N.ndim != 1:
            raise ValueError(f"{clusters_N.shape} clusters cannot meet {labels_N.shape} labels")
        clusters_N, labels_N = _contiguous(clusters_N), _contiguous(labels_N)
        clusters, labels = _span(clusters_N), _span(labels_N)
        if clusters is None or labels is None:
            known_N = (clusters_N >= 0) & (labels_N >= 0)
            return cls.of_codes(clusters_N[known_N], labels_N[known_N])
        assert clusters * labels < 1 << 63, "the key of a cell is a signed 64-bit number"
        if clusters * labels > max(_SMALL_TABLE, _CELLS_PER_ROW * clusters_N.size):
            return cls._of_cells(*_runs(np.sort(clusters_N * labels + labels_N)), clusters, labels)
        in_bytes = _counted_in_bytes(clusters_N, labels_N, clusters, labels)
        if in_bytes is not None:
            return cls.of_table(in_bytes.reshape(clusters, labels))
        counts = np.bincount(clusters_N * labels + labels_N, minlength=clusters * labels)
        return cls.of_table(counts.reshape(clusters, labels))

    @classmethod
    def of_table(cls, counts_KL: NDArray[np.integer[Any]]) -> Self:
        """Builds the cells from a full table, including empty cells."""
        flat = counts_KL.ravel()
        keys_C = np.flatnonzero(flat != 0)
        return cls(
            keys_C,
            flat[keys_C].astype(np.int64),
            counts_KL.sum(axis=1, dtype=np.int64),
            counts_KL.sum(axis=0, dtype=np.int64),
        )

    @classmethod
    def merged(cls, tables: "Sequence[Contingency]") -> Self:
        """Returns the table of all tables' rows. A code must mean the same value in all of them."""
        clusters = max(table.cluster_sizes_K.size for table in tables)
        labels = max(table.label_sizes_L.size for table in tables)
        keys = np.concatenate([table.clusters_C * labels + table.labels_C for table in tables])
        return cls._summed(keys, np.concatenate([table.counts_C for table in tables]), clusters, labels)

    @classmethod
    def _summed(cls, keys: Codes, counts: Counts, clusters: int, labels: int) -> Self:
        """Builds the table from cells in any order, of which some may occur several times."""
        # The keys of merged tables are ascending runs, which a stable sort merges in one pass.
        order = np.argsort(keys, kind="stable")
        keys_C, starts = _distinct(keys[order])
        counts_C = np.add.reduceat(counts[order], starts) if starts.size else counts
        return cls._of_cells(keys_C, counts_C, clusters, labels)

    @classmethod
    def _of_cells(cls, keys_C: Codes, counts_C: Counts, clusters: int, labels: int) -> Self:
        clusters_C, labels_C = np.divmod(keys_C, max(labels, 1))
        return cls(
            keys_C,
            counts_C,
            _sums_by_code(clusters_C, counts_C, clusters),
            _sums_by_code(labels_C, counts_C, labels),
        )

    @cached_property
    def clusters_C(self) -> Codes:
        return self.keys_C // max(self.label_sizes_L.size, 1)

    @cached_property
    def labels_C(self) -> Codes:
        return self.keys_C - self.clusters_C * self.label_sizes_L.size

    @property
    def rows(self) -> int:
        return int(self.cluster_sizes_K.sum())

    def recoded(self, new_clusters_K: Codes, new_labels_L: Codes) -> "Contingency":
        """Gives each cluster and label its new code; joins those with the same code and drops `UNKNOWN`."""
        clusters_C, labels_C = new_clusters_K[self.clusters_C], new_labels_L[self.labels_C]
        known_C = (clusters_C >= 0) & (labels_C >= 0)
        clusters, labels = int(new_clusters_K.max(initial=-1)) + 1, int(new_labels_L.max(initial=-1)) + 1
        keys = clusters_C[known_C] * labels + labels_C[known_C]
        return Contingency._summed(keys, self.counts_C[known_C], clusters, labels)


def _counted_in_bytes(
    clusters_N: Codes, labels_N: Codes, clusters: int, labels: int
) -> NDArray[np.uint8] | None:
    """Returns the full table; None if it is small or a cell holds, or is likely to hold, more than 255 rows.

    A table of bytes stays in the processor's cache, which makes counting three times as fast. A cell that
    overflows loses 256 rows, so a complete total proves that no cell did. Whether an overflow is likely is
    decided on a sample of the rows.
    """
    if clusters * labels <= _SMALL_TABLE:
        return None
    stride = max(1, clusters_N.size // _SAMPLED_ROWS)
    _, sampled_counts = _runs(np.sort(clusters_N[::stride] * labels + labels_N[::stride]))
    if sampled_counts.max(initial=0) >= _MANY_IN_SAMPLE:
        return None
    counts = np.zeros(clusters * labels, np.uint8)
    for start in range(0, clusters_N.size, _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        keys = clusters_N[part] * labels
        keys += labels_N[part]
        np.add.at(counts, keys, np.uint8(1))
    return counts if counts.sum(dtype=np.int64) == clusters_N.size else None


def _runs(sorted_keys: Codes) -> tuple[Codes, Counts]:
    """Returns the distinct keys and their counts."""
    keys, starts = _distinct(sorted_keys)
    return keys, np.diff(starts, append=sorted_keys.size)


def _distinct(sorted_keys: Codes) -> tuple[Codes, Codes]:
    """Returns the distinct keys and the index at which each one's run begins."""
    begins = np.ones(sorted_keys.size, np.bool_)
    np.not_equal(sorted_keys[1:], sorted_keys[:-1], out=begins[1:])
    starts = np.flatnonzero(begins)
    return sorted_keys[starts], starts


def _sums_by_code(codes_C: Codes, counts_C: Counts, codes: int) -> Counts:
    # bincount adds in float64, which is exact up to 2^53 rows.
    return np.bincount(codes_C, weights=counts_C, minlength=codes).astype(np.int64)


def _contiguous(codes_N: NDArray[np.integer[Any]]) -> Codes:
    return np.ascontiguousarray(codes_N, dtype=np.int64)


def _span(codes_N: Codes) -> int | None:
    """Returns one more than the largest code, or None if a code is negative."""
    # As unsigned integers, negative codes are the largest, so one pass is enough.
    largest = int(codes_N.view(np.uint64).max()) if codes_N.size else -1
    return largest + 1 if largest < 1 << 63 else None
