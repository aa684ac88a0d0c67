"""What a column of attributes holds: yes and no, quantities, dates or categories."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

CATEGORICAL_UP_TO = 20
"""Different values up to which a column of numbers or dates is taken as categories, such as years."""
MOSTLY_UNIQUE = 0.95
"""Share of different values from which on whole numbers are identifiers."""
LARGEST_CODE = 2**53
"""Beyond, numbers that are not whole look as if they were."""
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
"""What a column of yes and no says for no, and for yes, in small letters."""
UNKNOWN = frozenset(
    {"n/a", "na", "n.a.", "#n/a", "nan", "null", "none", "nil", "unknown", "missing", "inf", "-inf"}
    | {"+inf", "infinity", "-infinity", "-", "--", "\N{EN DASH}", "\N{EM DASH}", "?"}
)
"""What stands for nothing among numbers, in small letters. Among categories it may be one."""

_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-][0-9]+)?")
"""As programs write them: not 01234, 4e12 or 3_3, which are codes."""
_WITH_A_COMMA = re.compile(r"[+-]?(?:0|[1-9][0-9]*),([0-9]+)")
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Column:
    cells: list[str | None]
    """As they are, or the part that a quantity or date belongs to; of yes and no, one spelling each."""
    no: str | None = None
    """What says no, in a column that says nothing but yes and no."""
    note: str | None = None
    """What was made of the cells, for a user."""


def read_column(name: str, cells: list[str | None], parts: int) -> Column:
    """`parts`: how many of equal size quantities and dates are cut into."""
    known = [cell for cell in cells if cell is not None and cell.casefold() not in UNKNOWN]
    different = set(known)
    if len(different) <= CATEGORICAL_UP_TO:
        return _yes_and_no(cells)
    numbers = _numbers(different)
    if numbers is not None and _are_codes(list(numbers.values()), len(known)):
        return Column(cells)
    dates = _dates(different) if numbers is None else None
    value_of = numbers or dates
    if value_of is None:
        return Column(cells)
    kind, written = ("dates", _as_date) if dates else ("numbers", _as_number)
    values_N = np.array([math.nan if cell is None else value_of.get(cell, math.nan) for cell in cells])
    unknown = sum(cell is not None for cell in cells) - len(known)
    what = f"{kind}, {unknown:,} of them not known," if unknown else kind
    note = f"{name} holds {what} and is cut into parts of equal size"
    return Column(_cut(values_N, parts, written), note=note)


def _yes_and_no(cells: list[str | None]) -> Column:
    said = Counter(cell for cell in cells if cell is not None)
    meant = {cell.casefold() for cell in said}
    no = next((no for no, yes in YES_OF.items() if no in meant and meant <= {no, yes}), None)
    if no is None:
        return Column(cells)
    usual: dict[str, str] = {}
    for cell, _ in said.most_common():
        usual.setdefault(cell.casefold(), cell)
    return Column([cell if cell is None else usual[cell.casefold()] for cell in cells], usual[no])


def _numbers(cells: Iterable[str]) -> dict[str, float] | None:
    """Finite ones; with a comma for a point, where some cell has other than three digits behind it."""
    found: dict[str, float] = {}
    digits_behind = set()
    for cell in cells:
        comma = _WITH_A_COMMA.fullmatch(cell)
        if comma is not None:
            digits_behind.add(len(comma[1]))
        elif not _NUMBER.fullmatch(cell):
            return None
        found[cell] = float(cell.replace(",", "."))
    # 1,234 may be a thousand, or one and a quarter.
    is_clear = digits_behind != {3}
    return found if is_clear and all(map(math.isfinite, found.values())) else None


def _dates(cells: Iterable[str]) -> dict[str, float] | None:
    """As seconds; those without a zone as if in UTC."""
    found = {}
    for cell in cells:
        if not _DATE.fullmatch(cell):
            return None
        try:
            found[cell] = (_naive(datetime.fromisoformat(cell)) - _EPOCH).total_seconds()
        except (ValueError, OverflowError):
            return None
    return found


def _naive(step_info: datetime) -> datetime:
    offset = step_info.utcoffset()
    return step_info.replace(tzinfo=None) if offset is None else step_info.replace(tzinfo=None) - offset


def _are_codes(numbers: Sequence[float], rows: int) -> bool:
    """Whether whole numbers name things: each row another one, or few that come again and again."""
    is_whole = all(number.is_integer() and abs(number) < LARGEST_CODE for number in numbers)
    return is_whole and (len(numbers) >= MOSTLY_UNIQUE * rows or len(numbers) <= math.sqrt(rows))


def _as_number(number: float) -> str:
    return f"{number:g}"


def _as_date(seconds: float) -> str:
    return str(_EPOCH + timedelta(seconds=seconds)).removesuffix(" 00:00:00")


def _cut(values_N: np.ndarray, parts: int, written: Callable[[float], str]) -> list[str | None]:
    edges = np.unique(np.nanquantile(values_N, np.linspace(0, 1, parts + 1)))
    count = max(1, len(edges) - 1)
    # A value on an edge belongs to the part above it; the last part holds its upper edge, too.
    part_N = np.clip(np.searchsorted(edges, values_N, side="right"), 1, count)
    return [
        None if math.isnan(value) else f"part {part} of {count}, from {written(edges[part - 1])}"
        for value, part in zip(values_N, part_N, strict=True)
    ]
