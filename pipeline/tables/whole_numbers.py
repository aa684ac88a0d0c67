"""Whole numbers that one column of a text table writes in two ways, as 2011 and 2011.0.

Programs write integers as floats where values are missing; two such tables that were joined hold both.
"""

import re
from collections.abc import Iterable, Sequence

from pipeline.runtime.errors import listed
from pipeline.tables.lines import NotARow

_WHOLE = re.compile(r"(?:0|-?[1-9][0-9]*)(\.0+)?")
_DIGIT = re.compile(r"\d")
_ZEROS = re.compile(r"(?<=[0-9])\.0+(?=\s*\Z)")
COLUMNS_SHOWN = 6


def may_have_zeros(lines: Iterable[str | NotARow]) -> bool:
    """Returns whether any line holds a number such as 2011.0; much faster than parsing the cells."""
    return any(isinstance(line, str) and re.search(r"[0-9]\.0+(?![0-9])", line) for line in lines)


def cells_with_zeros(records: Iterable[dict[str, str] | NotARow], columns: Sequence[str]) -> dict[str, int]:
    """Returns the number of cells such as 2011.0, by column, of columns that also hold cells such as 2011.

    A column with any other number is left out: 1.0, 1.5, 2 are versions or quantities, and 007 is a code.
    Cells without a digit do not matter.
    """
    zeros_and_none = {name: [0, 0] for name in columns}
    for record in records:
        if isinstance(record, NotARow):
            continue
        for name, counts in list(zeros_and_none.items()):
            cell = record[name].strip()
            if number := _WHOLE.fullmatch(cell):
                counts[number[1] is None] += 1
            elif _DIGIT.search(cell):
                del zeros_and_none[name]
        if not zeros_and_none:
            break
    return {name: zeros for name, (zeros, none) in zeros_and_none.items() if zeros and none}


def without_zeros(record: dict[str, str], columns: Iterable[str]) -> dict[str, str]:
    """Returns `record` with 2011 instead of 2011.0 in `columns`."""
    return record | {name: _ZEROS.sub("", record[name]) for name in columns if name in record}


def whole_number_notes(cells: dict[str, int]) -> list[str]:
    """Returns a note on the result of `cells_with_zeros`."""
    if not cells:
        return []
    return [
        f"{sum(cells.values()):,} cells of {listed(list(cells), COLUMNS_SHOWN)} are whole numbers with .0, "
        "which other cells of the column lack: they count as the number without it"
    ]
