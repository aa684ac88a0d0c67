"""CSV, TSV and other delimited text: header and rows of untrusted files."""

import csv
import re
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import TextIO

from pipeline.runtime.errors import UserError, shown
from pipeline.tables import lines as limits
from pipeline.tables.cells import folded
from pipeline.tables.lines import NOT_A_ROW, Lines, LineTooLong, NotARow, open_text, text_lines
from pipeline.untrusted.safe_paths import SafePath
from pipeline.untrusted.similar_paths import ENDINGS

_MARKS = (",", ";", "\t", "|")
_QUOTED = re.compile(r'"[^"]*"')
LONGEST_CELL = 1 << 20
"""Maximum number of characters per cell; an unclosed quote puts all that follows into one cell."""
MOST_REREAD = 500_000
"""Maximum number of lines in total that are parsed again after invalid rows."""


class CsvRows:
    """Iterates over the rows of `file` that are not blank: the number of the first line, and the cells.

    An invalid row, such as one with an unclosed quote, loses only its first line: the lines after it are
    parsed again.
    """

    def __init__(self, file: TextIO, delimiter: str = ",", above: int = 0) -> None:
        """`above`: the number of lines to skip before the first row."""
        # The limit applies to the whole process; nothing else sets it.
        csv.field_size_limit(LONGEST_CELL)
        self._lines = _LinesOfRows(file)
        self._rereads_left = MOST_REREAD
        self._delimiter = delimiter
        for _ in range(above):
            next(self._lines, None)
        self._begin()

    def _begin(self) -> None:
        self._reader = csv.reader(self._lines, delimiter=self._delimiter, strict=True)

    def __iter__(self) -> Iterator[tuple[int, list[str] | NotARow]]:
        while True:
            self._lines.begin_row()
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except LineTooLong as error:
                yield self._lines.first, NotARow(f"{error}{self.reread()}")
            except csv.Error as error:
                why = f"{NOT_A_ROW}: {_CSV_ERRORS.get(str(error), error)}"
                yield self._lines.first, NotARow(f"{why}{self.reread()}")
            else:
                if any(cell.strip() for cell in cells):
                    yield self._lines.first, cells

    @property
    def lines(self) -> list[str]:
        """The lines of the last row."""
        return self._lines.of_the_row

    def reread(self) -> str:
        """Schedules the lines after the first one of the last row to be parsed again, and returns "".

        Beyond `MOST_REREAD` lines returns what is lost instead, since a table of only quotes would be parsed
        again for each of its lines.
        """
        again = len(self.lines) - 1
        self._rereads_left -= again
        self._begin()
        if self._rereads_left < 0:
            return f", and with it the {again:,} lines that follow" if again else ""
        self._lines.push_back()
        return ""


_CSV_ERRORS = {
    "unexpected end of data": "nothing closes its quote",
    f"field larger than field limit ({LONGEST_CELL})": "nothing closes its quote, or its cell is very long",
} | {f"'{mark}' expected after '\"'": "a quote stands within a cell, or nothing closes it" for mark in _MARKS}


class _LinesOfRows(Lines):
    """The lines of rows that may span several lines, with limits on the size of a row."""

    def __init__(self, file: TextIO) -> None:
        super().__init__(file)
        self._number = 0
        self._again: deque[str] = deque()
        self.begin_row()

    def begin_row(self) -> None:
        self.of_the_row: list[str] = []
        self._characters = 0
        self.first = self._number + 1

    def __next__(self) -> str:
        try:
            line = self._again.popleft() if self._again else super().__next__()
        except LineTooLong:
            line = _TOO_LONG
        self._number += 1
        self._characters += len(line)
        self.of_the_row.append(line)
        if line == _TOO_LONG:
            raise LineTooLong
        if self._characters > limits.LONGEST_LINE or len(self.of_the_row) > limits.MOST_LINES:
            raise LineTooLong("row")
        return line

    def push_back(self) -> None:
        again = self.of_the_row[1:]
        self._again.extendleft(reversed(again))
        self._number -= len(again)


_TOO_LONG = ""
"""Replacement of a line that is too long; no other line is empty."""


def csv_records(
    file: TextIO, head: "Head", columns: Collection[str] | None = None
) -> Iterator[tuple[int, dict[str, str] | NotARow]]:
    """Yields the rows below the header, with their line numbers, as records of all or the given columns."""
    names, rows = head.names, CsvRows(file, head.delimiter, max(0, head.line - 1))
    taken = [(place, name) for place, name in enumerate(names) if columns is None or name in columns]
    for line, cells in islice(rows, 1, None):
        if not isinstance(cells, NotARow):
            if _are_rows(rows.lines, head.delimiter, len(head.names)):
                why = f"{NOT_A_ROW}: its quote takes whole rows that follow into a cell"
                cells = NotARow(f"{why}{rows.reread()}")
            elif len(cells) < len(names) or any(cell.strip() for cell in cells[len(names) :]):
                cells = NotARow(f"{NOT_A_ROW}: {len(cells)} cells under {len(names)} columns")
        yield line, cells if isinstance(cells, NotARow) else {name: cells[place] for place, name in taken}


def _are_rows(lines: Sequence[str], delimiter: str, columns: int) -> bool:
    """Returns whether the first and the last line of a row look like rows themselves, and of all lines more
    than two thirds. With two columns, where text easily does, all lines must, and there must be at least
    three."""
    filled = [line.rstrip("\r\n") for line in lines if line.strip()]
    if len(filled) < (3 if columns == 2 else 2) or columns < 2:
        return False
    are_rows = [_has_columns(line, delimiter, columns) for line in filled]
    if columns == 2:
        return all(are_rows)
    return are_rows[0] and are_rows[-1] and 3 * sum(are_rows) > 2 * len(are_rows)


def _has_columns(line: str, delimiter: str, columns: int) -> bool:
    return columns - 1 in (line.count(delimiter), line.rstrip(f"{delimiter} \t").count(delimiter))


# --- the header ---------------------------------------------------------------------------------------------

_LINES_SNIFFED, _CHARACTERS_SNIFFED = 30, 1 << 20
_MOST_ABOVE = 10
_NAMED_DELIMITER = re.compile(r"sep=(.)[\r\n]*", re.IGNORECASE)
"""Excel's declaration of the delimiter in the first line."""


@dataclass(frozen=True)
class Head:
    """The header of a table and its delimiter."""

    names: list[str]
    """The names as returned by `folded`; empty for an empty file."""
    delimiter: str
    line: int
    """The line number of the header."""
    notes: list[str]
    """Notes on skipped lines above it, one sentence each."""


def read_head(path: SafePath, named: str, usual: str = ",") -> Head:
    """Reads the header of a table and detects the delimiter.

    The delimiter is `usual`, or the mark that occurs equally often in the first lines: spreadsheets write
    semicolons where the comma is the decimal mark, whatever the file extension. A line above the header that
    is not part of the table is skipped.

    Raises `UserError`, which calls the table `named`, if the header cannot be read or `check_names` rejects
    it.
    """
    lines, delimiter, notes = first_lines(path, named), None, list[str]()
    if lines and (declared := _NAMED_DELIMITER.fullmatch(lines[0][1])):
        delimiter, lines = declared[1], lines[1:]
    while lines and delimiter is None and len(notes) < _MOST_ABOVE and _is_above([line for _, line in lines]):
        number, line = lines.pop(0)
        notes.append(f"line {number} stands above the header and is left out: {shown(line.strip())}")
    if not lines:
        return Head([], usual, 0, notes)
    delimiter = delimiter or delimiter_of([line for _, line in lines], usual) or usual
    names = _names(path, named, delimiter, lines[0][0])
    check_names(names, named)
    return Head(names, delimiter, lines[0][0], notes)


def first_lines(path: SafePath, named: str) -> list[tuple[int, str]]:
    """Returns the first lines that are not blank, with their numbers.

    It returns at most `_CHARACTERS_SNIFFED` characters of the first `_LINES_SNIFFED` lines, but always the
    first one. Raises `UserError` if that one cannot be read.
    """
    found: list[tuple[int, str]] = []
    characters = 0
    with open_text(path) as file:
        for number, line in islice(text_lines(file), _LINES_SNIFFED):
            if isinstance(line, NotARow):
                if found:
                    break
                raise UserError(f"{named} has no header that can be read ({line.reason}): give it one")
            characters += len(line)
            if found and characters > _CHARACTERS_SNIFFED:
                break
            if line.strip():
                found.append((number, line))
    return found


def _is_above(lines: Sequence[str]) -> bool:
    """Returns whether the first line has no delimiter, or is a comment, and lines below have equally many."""
    first, *others = map(_marks_in, lines)
    if lines[0].startswith("#"):
        return any(a[mark] == b[mark] != first[mark] for a, b in pairwise(others[:2]) for mark in _MARKS)
    return not any(first.values()) and any(
        a[mark] == b[mark] > 0 for a, b in pairwise(others) for mark in _MARKS
    )


def _marks_in(line: str) -> dict[str, int]:
    outside_quotes = _QUOTED.sub("", line)
    return {mark: outside_quotes.count(mark) for mark in _MARKS}


def delimiter_of(lines: Sequence[str], usual: str) -> str | None:
    """Returns the mark that occurs equally often in the first lines, `usual` before others; None if the first
    line has none."""
    first, *others = map(_marks_in, lines)
    marks = [mark for mark in dict.fromkeys((usual, *_MARKS)) if first[mark]]
    even = (mark for mark in marks if 2 * sum(line[mark] == first[mark] for line in others) > len(others))
    return next(even, marks[0] if marks else None)


def _names(path: SafePath, named: str, delimiter: str, header: int) -> list[str]:
    with open_text(path) as file:
        rows = CsvRows(file, delimiter, header - 1)
        _, cells = next(iter(rows), (0, []))
        if not isinstance(cells, NotARow) and _are_rows(rows.lines, delimiter, len(cells)):
            cells = NotARow("its quote includes the rows that follow")
    if isinstance(cells, NotARow):
        raise UserError(f"{named} has no header that can be read ({cells.reason}): give it one")
    names = [folded(name) for name in cells]
    if image := next((name for name in names if Path(name).suffix.lower() in ENDINGS), None):
        raise UserError(
            f"{named} has no header, since its first line names the image {shown(image)}: add a line with "
            "the names of the columns above it"
        )
    return names


def check_names(names: Iterable[str], named: str) -> None:
    """Raises `UserError` for duplicate names, and for names that are not Unicode text."""
    times = Counter(names)
    if not all(map(_is_text, times)):
        raise UserError(f"{named} is not UTF-8 text: save it as UTF-8, in a spreadsheet as CSV UTF-8")
    # Spreadsheets also write empty columns, which have no name.
    repeated = [name for name, count in times.items() if name and count > 1]
    if repeated:
        raise UserError(f"{named} has several columns {min(repeated)!r}: rename them")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in name
