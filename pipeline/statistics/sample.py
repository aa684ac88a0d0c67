"""A random sample of the rows of a table, as codes, in bounded memory."""

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.statistics.contingency import Codes

MOST_ROWS, MOST_CELLS = 200_000, 50_000_000
"""Number of rows with a label, and of rows without one, from which only a random part is kept; fewer if the
table has so many columns that their cells are more."""

Coding = Callable[[pa.Array], Codes]


class Sample:
    """Rows of batches, kept with the same probability, which falls as they become too many."""

    def __init__(self, coding_of: Mapping[str, Coding], generator: np.random.Generator) -> None:
        self._coding_of, self._generator = coding_of, generator
        self._most = max(2, min(MOST_ROWS, MOST_CELLS // max(1, len(coding_of))))
        self.seen = 0
        """Number of rows that were offered."""
        self._share, self._held = 1.0, 0
        self._parts: list[NDArray[np.int32]] = []

    def add(self, batch: pa.RecordBatch, rows: NDArray[np.intp]) -> None:
        """Offers these rows of a batch. Only those that are kept are coded."""
        self.seen += len(rows)
        rows = rows[self._generator.random(len(rows)) < self._share]
        if not rows.size:
            return
        part = batch.take(pa.array(rows)) if len(rows) < batch.num_rows else batch
        codes = [coding(part.column(name)).astype(np.int32) for name, coding in self._coding_of.items()]
        self._parts.append(np.stack(codes, axis=1) if codes else np.empty((len(rows), 0), np.int32))
        self._held += len(rows)
        while self._held > 2 * self._most:
            self._parts = [part[self._generator.random(len(part)) < 0.5] for part in self._parts]
            self._share, self._held = self._share / 2, sum(map(len, self._parts))

    @property
    def codes_RC(self) -> NDArray[np.int32]:
        return np.concatenate(self._parts) if self._parts else np.empty((0, len(self._coding_of)), np.int32)
