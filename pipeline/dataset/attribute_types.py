"""Types of attribute columns: yes and no, quantities, dates or categories."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from pipeline.dataset.unknown_words import is_unknown_word

CATEGORICAL_UP_TO = 20
"""Distinct values up to which numbers or dates are categories, such as years."""
MOSTLY_UNIQUE = 0.95
"""Share of distinct values above which whole numbers are identifiers."""
LARGEST_CODE = 2**53
"""Above it, float64 holds whole numbers only."""
YES_OF = {
    "no": "yes",
    "false": "true",
    "n": "y",
    "f": "t",
    "off": "on",
    "0": "1",
    "-1": "1",
    "0.0": "1.0",
    "-1.0": "1.0",
}
"""Pairs of no and yes in columns of both, in lower case."""
INFINITE = frozenset({"inf", "-inf", "+inf", "infinity", "-infinity"})
"""In lower case; like words for "unknown", missing values in columns of numbers or dates. Among categories
they may be values."""

_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-][0-9]+)?")
"""Numbers as written by programs; 01234, 4e12 and 3_3 are codes."""
_WITH_A_COMMA = re.compile(r"[+-]?(?:0|[1-9][0-9]*),([0-9]+)")
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Column:
    cells: list[str | None]
    """The cells unchanged, the parts of quantities or dates, or yes and no in one spelling each."""
    no: str | None = None
    """The value for no, in a column of only yes and no."""
    note: str | None = None
    """How the cells were interpreted, for the user."""


def read_column(name: str, cells: list[str | None], parts: int) -> Column:
    """Interprets a column; quantities and dates are cut into `parts` parts of equal size."""
    counts = Counter(cell for cell in cells if cell is not None)
    quantities = _quantities(counts)
    if quantities is None:
        return _yes_and_no(cells, counts)
    kind, written, value_of = quantities
    values_N = np.array([math.nan if cell is None else value_of.get(cell, math.nan) for cell in cells])
    unknown = counts.total() - sum(counts[cell] for cell in value_of)
    what = f"{kind}, {unknown:,} of them not known," if unknown else kind
    note = f"{name} holds {what} and is cut into parts of equal size"
    return Column(_cut(values_N, parts, written), note=note)


def are_quantities(counts: Mapping[str, int]) -> bool:
    """Returns whether a column with these numbers of cells by value holds numbers or dates to be cut."""
    return _quantities(counts) is not None


def _quantities(
    counts: Mapping[str, int],
) -> tuple[str, Callable[[float], str], dict[str, float]] | None:
    """Returns what the cells are, how to write one, and the value of each known cell; None for categories."""
    known = {cell: count for cell, count in counts.items() if not _is_missing(cell)}
    if len(known) <= CATEGORICAL_UP_TO:
        return None
    if (numbers := _numbers(known)) is not None:
        codes = _are_codes(list(numbers.values()), sum(known.values()))
        return None if codes else ("numbers", _as_number, numbers)
    dates = _dates(known)
    return None if dates is None else ("dates", _as_date, dates)


def _is_missing(cell: str) -> bool:
    return is_unknown_word(cell) or cell.casefold() in INFINITE


def _yes_and_no(cells: list[str | None], counts: Counter[str]) -> Column:
    values = {cell.casefold() for cell in counts}
    no = next((no for no, yes in YES_OF.items() if no in values and values <= {no, yes}), None)
    if no is None:
        return Column(cells)
    spelling: dict[str, str] = {}
    for cell, _ in counts.most_common():
        spelling.setdefault(cell.casefold(), cell)
    return Column([cell if cell is None else spelling[cell.casefold()] for cell in cells], spelling[no])


def _numbers(cells: Iterable[str]) -> dict[str, float] | None:
    """Returns the value of each cell; None if a cell is no finite number, or all commas are ambiguous."""
    found: dict[str, float] = {}
    decimals = set()
    for cell in cells:
        comma = _WITH_A_COMMA.fullmatch(cell)
        if comma is not None:
            decimals.add(len(comma[1]))
        elif not _NUMBER.fullmatch(cell):
            return None
        found[cell] = float(cell.replace(",", "."))
    # 1,234 is ambiguous: a thousand, or a decimal comma.
    is_clear = decimals != {3}
    return found if is_clear and all(map(math.isfinite, found.values())) else None


def _dates(cells: Iterable[str]) -> dict[str, float] | None:
    """Returns the dates in seconds, those without a time zone as UTC; None if a cell is no date."""
    found = {}
    for cell in cells:
        if not _DATE.fullmatch(cell):
            return None
        try:
            found[cell] = (_naive(datetime.fromisoformat(cell)) - _EPOCH).total_seconds()
        except (ValueError, OverflowError):
            return None
    return found


def _naive(date: datetime) -> datetime:
    offset = date.utcoffset()
    return date.replace(tzinfo=None) if offset is None else date.replace(tzinfo=None) - offset


def _are_codes(numbers: Sequence[float], rows: int) -> bool:
    """Returns whether numbers are whole and identify: almost all distinct, or few with many repetitions."""
    is_whole = all(number.is_integer() and abs(number) < LARGEST_CODE for number in numbers)
    return is_whole and (len(numbers) >= MOSTLY_UNIQUE * rows or len(numbers) <= math.sqrt(rows))


def _as_number(number: float) -> str:
    return f"{number:g}"


def _as_date(seconds: float) -> str:
    return str(_EPOCH + timedelta(seconds=seconds)).removesuffix(" 00:00:00")


def _cut(values_N: np.ndarray, parts: int, written: Callable[[float], str]) -> list[str | None]:
    edges = np.unique(np.nanquantile(values_N, np.linspace(0, 1, parts + 1)))
    count = max(1, len(edges) - 1)
    # A value on an edge belongs to the part above it; the last part includes its upper edge.
    part_N = np.clip(np.searchsorted(edges, values_N, side="right"), 1, count)
    return [
        None if math.isnan(value) else f"part {part} of {count}, from {written(edges[part - 1])}"
        for value, part in zip(values_N, part_N, strict=True)
    ]
