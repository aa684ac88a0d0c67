"""Counts of a table that is read in batches, in memory that grows with its distinct values, not its rows."""

import hashlib
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.unknown_words import is_unknown_word
from pipeline.statistics.contingency import UNKNOWN, Codes, Contingency, Counts
from pipeline.statistics.values import Column, encoded
from pipeline.tables.cells import FOLDED, Notices, is_folded, text

_PENDING_CELLS = 1 << 20
_LONG_TEXT = 256
"""Characters above which a text is stored as its beginning and its hash: a few kilobytes of Parquet can hold
gigabytes."""


class Coder:
    """Gives each value of a column one code, the same in every batch."""

    def __init__(self) -> None:
        self._code_of: dict[str | tuple[str, bytes], int] = {}
        self.notices = Notices()
        """Notices about the cells that were passed to `codes`."""
        self.unknown_words: Counter[str] = Counter()
        """The number of these cells that hold a word for "unknown", by word."""
        self._rows_C = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._code_of)

    def codes(self, column: Column) -> Codes:
        """Returns the code of each value; `UNKNOWN` for null, NaN and blank text.

        Values are compared as the text that `cells.text` returns, so 3.0 and 3 are one value, as are texts
        that look the same. Raises `NotOneValue`.
        """
        batch_codes_N, batch_values = encoded(column)
        values = batch_values.to_pylist()
        texts = [text(value) for value in values]
        known = [written is not None for written in texts]
        codes = np.full(len(texts) + 1, UNKNOWN, np.int64)
        codes[:-1][known] = self._codes_of([written for written in texts if written is not None])
        rows_V = np.bincount(batch_codes_N[batch_codes_N != UNKNOWN], minlength=len(texts))
        self._rows_C = np.pad(self._rows_C, (0, len(self) - len(self._rows_C)))
        np.add.at(self._rows_C, codes[:-1][known], rows_V[known])
        if folded := int(rows_V[[is_folded(value) for value in values]].sum()):
            self.notices[FOLDED] += folded
        for written, rows in zip(texts, rows_V.tolist(), strict=True):
            if written is not None and is_unknown_word(written):
                self.unknown_words[written] += rows
        return codes[batch_codes_N]

    def sorted_values(self) -> tuple[list[str], NDArray[np.int64]]:
        """Returns the values in ascending order, long ones without their ends, and the rows of each."""
        values = [value if isinstance(value, str) else value[0] for value in self._code_of]
        order_V = sorted(range(len(values)), key=values.__getitem__)
        return [values[code] for code in order_V], self._rows_C[order_V]

    def rows_of_values(self) -> dict[str, int]:
        """Returns the rows of each value that is not long."""
        rows = zip(self._code_of, self._rows_C.tolist(), strict=True)
        return {value: count for value, count in rows if isinstance(value, str)}

    def values(self) -> list[str | None]:
        """Returns the value of each code, None for one that is long."""
        return [value if isinstance(value, str) else None for value in self._code_of]

    def _codes_of(self, values: list[str]) -> Codes:
        code_of = self._code_of
        codes = (code_of.setdefault(_short(value), len(code_of)) for value in values)
        return np.fromiter(codes, np.int64, count=len(values))


def _short(value: str) -> str | tuple[str, bytes]:
    if len(value) <= _LONG_TEXT:
        return value
    return value[:_LONG_TEXT], hashlib.blake2b(value.encode(errors="surrogatepass"), digest_size=16).digest()


class Tally:
    """Counts of each cluster and label over the batches added so far."""

    def __init__(self, labels: Coder) -> None:
        self.clusters = Coder()
        self.labels = labels
        self.rows = 0
        self._merged: Contingency | None = None
        self._pending: list[Contingency] = []
        self._pending_cells = 0

    def add_codes(self, clusters_N: Codes, labels_N: Codes) -> None:
        """Counts one batch by the codes that the two coders returned."""
        self.rows += clusters_N.size
        # In these tables, label 0 is the unknown one and every other code is one higher, so that one table
        # gives the sizes over all rows and the counts over the labelled ones.
        table = Contingency.of_codes(clusters_N, labels_N - UNKNOWN)
        self._pending.append(table)
        self._pending_cells += table.counts_C.size
        # Merging is linear in the cells of the result. Waiting for as many pending cells merges each one only
        # a few times.
        if self._pending_cells > max(
            _PENDING_CELLS, 0 if self._merged is None else self._merged.counts_C.size
        ):
            self._table()

    @property
    def labelled(self) -> Contingency:
        """The table of the rows whose cluster and label are both known."""
        table = self._table()
        return table.recoded(
            np.arange(table.cluster_sizes_K.size), np.arange(table.label_sizes_L.size) + UNKNOWN
        )

    @property
    def cluster_sizes_K(self) -> Counts:
        """Cluster sizes over the rows whose cluster is known, with or without a label."""
        return self._table().cluster_sizes_K

    @property
    def rows_without_cluster(self) -> int:
        return self.rows - self._table().rows

    def _table(self) -> Contingency:
        if self._pending:
            parts = self._pending if self._merged is None else [self._merged, *self._pending]
            self._merged = Contingency.merged(parts) if len(parts) > 1 else parts[0]
            self._pending, self._pending_cells = [], 0
        if self._merged is None:
            nothing: NDArray[np.int64] = np.zeros(0, np.int64)
            return Contingency.of_codes(nothing, nothing)
        return self._merged
