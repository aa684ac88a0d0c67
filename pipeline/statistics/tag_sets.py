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


LONGEST_CELL = 20_000
"""Characters of a text of hashtags; one of two hundred hashtags has some thousand."""


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
            f"{shown(column)}: {rows:,} rows have more than {MOST_TAGS} hashtags, some of more than "
            f"{LONGEST_TAG} characters, or other values; these do not count"
        ]

    def codes(self, column: pa.Array) -> Codes:
        """Returns (N,) the code of each cell, a list or text as people write hashtags."""
        coded = column.dictionary_encode() if pa.types.is_string(column.type) else column
        is_coded = pa.types.is_dictionary(coded.type)
        try:
            cells = coded.dictionary.to_pylist() if is_coded else column.to_pylist()
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            # Times that Python has none for are no hashtags.
            return np.full(len(column), self._code(None, is_cut=True), np.int64)
        of_cells = np.array([*map(self._code, cells), self._code(None)], np.int64)
        if not is_coded:
            return of_cells[:-1]
        # A null has the index -1, the last.
        indices_N = coded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        codes_N: Codes = of_cells[indices_N]
        return codes_N

    def _code(self, cell: Any, *, is_cut: bool = False) -> int:
        parts, is_long = _bounded(cell)
        is_cut |= is_long
        written: list[str] = []
        try:
            written = hashtags_of(parts)
        except TooLarge:
            is_cut = True
        except NotOneValue:
            pass
        short = [tag for tag in written[:MOST_TAGS] if len(tag) <= LONGEST_TAG]
        tags = frozenset(filter(None, map(normalized_hashtag, short)))
        code = self._code_of.setdefault(tags, len(self._code_of))
        if is_cut or len(short) < len(written):
            self._cut.add(code)
        return code


def _bounded(cell: Any) -> tuple[Any, bool]:
    """Returns what is parsed of a cell, and whether it is less than all of it.

    Parsing takes a microsecond for each character.
    """
    if isinstance(cell, str) and len(cell) > LONGEST_CELL:
        return None, True
    if not isinstance(cell, list):
        return cell, False
    kept = [part for part in cell[:MOST_TAGS] if not (isinstance(part, str) and len(part) > LONGEST_TAG)]
    return kept, len(kept) < len(cell)
