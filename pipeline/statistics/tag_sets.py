"""The hashtags in a column of a table that is read in batches: each set of them is one value."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.runtime.errors import shown
from pipeline.statistics.contingency import Codes
from pipeline.tables.cells import NotOneValue, TooLarge
from pipeline.tables.hashtags import hashtags_of, normalized_hashtag

LONGEST_TAG, MOST_TAGS = 256, 200
"""Characters of a hashtag, and hashtags of a row, that are kept: kilobytes of Parquet can hold gigabytes."""


class TagSets:
    """Gives each set of normalized hashtags one code, the same in every batch; none is a set, too."""

    def __init__(self) -> None:
        self._code_of: dict[frozenset[str], int] = {}
        self._cut: set[int] = set()
        """Codes of the sets that lack long hashtags, or those after the first `MOST_TAGS`."""

    @property
    def sets(self) -> Sequence[frozenset[str]]:
        """The sets by their codes."""
        return list(self._code_of)

    def notes(self, column: str, codes_N: Codes) -> list[str]:
        """Returns a note if hashtags of rows with these codes were left out."""
        if not (rows := int(np.isin(codes_N, list(self._cut)).sum())):
            return []
        return [
            f"{shown(column)}: {rows:,} rows have more than {MOST_TAGS} hashtags, or some of more than "
            f"{LONGEST_TAG} characters; these do not count"
        ]

    def codes(self, column: pa.Array) -> Codes:
        """Returns (N,) the code of each cell, a list or text as people write hashtags."""
        coded = column.dictionary_encode() if pa.types.is_string(column.type) else column
        if not pa.types.is_dictionary(coded.type):
            return np.array([self._code(cell) for cell in column.to_pylist()], np.int64)
        of_cells = np.array([*map(self._code, coded.dictionary.to_pylist()), self._code(None)], np.int64)
        # A null has the index -1, the last.
        indices_N = coded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        codes_N: Codes = of_cells[indices_N]
        return codes_N

    def _code(self, cell: Any) -> int:
        try:
            written = list(hashtags_of(cell))
        except (NotOneValue, TooLarge):
            written = []
        short = [tag for tag in written[:MOST_TAGS] if len(tag) <= LONGEST_TAG]
        tags = frozenset(filter(None, map(normalized_hashtag, short)))
        code = self._code_of.setdefault(tags, len(self._code_of))
        if len(short) < len(written):
            self._cut.add(code)
        return code
