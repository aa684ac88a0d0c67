"""Tables as text: their lines, rows and header, whatever strangers wrote."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TextIO

from pipeline.errors import UserError
from pipeline.safe_paths import SafePath

_MARKS = (",", ";", "\t")
_QUOTED = re.compile(r'"[^"]*"')
LONGEST_LINE = 1 << 23
"""Characters: a hundred thousand columns of eighty each. As JSON they take fifty times as many bytes."""
LONGEST_CELL = 1 << 20
"""Characters, too. A quote that nothing closes makes a cell of all that follows."""
NOT_A_ROW = "the line is not a row of the table"


@dataclass(frozen=True, slots=True)
class NotARow:
    """What stands where a row should be, and why it is none."""

    reason: str


class LineTooLong(ValueError):
    """A line, or a row of several, of more than `LONGEST_LINE` characters."""

    def __init__(self, what: str = "line") -> None:
        super().__init__(f"the {what} is longer than {LONGEST_LINE:,} characters")


class Lines:
    """The lines of `file`. Raises `LineTooLong` in place of one that is too long, and goes on behind it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(LONGEST_LINE + 1)
        if not line:
            raise StopIteration
        if len(line) > LONGEST_LINE:
            while line and not line.endswith(("\n", "\r")):
                line = self._file.readline(LONGEST_LINE)
            raise LineTooLong
        return line


class LinesOfRows(Lines):
    """Lines of which several may be a row: one that does not end would be held as a whole."""

    def __init__(self, file: TextIO) -> None:
        super().__init__(file)
        self.begin_row()

    def begin_row(self) -> None:
        self._of_the_row = 0

    def __next__(self) -> str:
        line = super().__next__()
        self._of_the_row += len(line)
        if self._of_the_row > LONGEST_LINE:
            raise LineTooLong("row")
        return line


def open_text(path: SafePath) -> TextIO:
    """With its newlines as they are; bytes that are not UTF-8 become characters that no text holds."""
    return path.open_text(newline="", errors="surrogateescape")


def text_lines(file: TextIO) -> Iterator[tuple[int, str | NotARow]]:
    """Each line with its number, from 1 on."""
    lines, number = Lines(file), 0
    while True:
        number += 1
        try:
            yield number, next(lines)
        except LineTooLong as error:
            yield number, NotARow(str(error))
        except StopIteration:
            return


def csv_rows(file: TextIO, delimiter: str = ",") -> Iterator[tuple[int, list[str] | NotARow]]:
    """The cells of each row that is not empty, with the number of its last line."""
    # A limit of the whole process; nothing in it wants another.
    csv.field_size_limit(LONGEST_CELL)
    lines = LinesOfRows(file)
    reader = csv.reader(lines, delimiter=delimiter)
    too_long = 0
    while True:
        first = reader.line_num + too_long + 1
        lines.begin_row()
        try:
            cells = next(reader)
        except LineTooLong as error:
            too_long += 1
            yield first, NotARow(str(error))
        except csv.Error as error:
            last = reader.line_num + too_long
            of_several = f", nor are those from {first} on, as behind a quote that nothing closes"
            yield last, NotARow(f"{NOT_A_ROW}{of_several if last > first else ''}: {error}")
        except StopIteration:
            return
        else:
            if cells:
                yield reader.line_num + too_long, cells


def csv_records(
    file: TextIO, header: list[str], delimiter: str = ","
) -> Iterator[tuple[int, dict[str, str | None] | NotARow]]:
    """Rows below the header as records; cells that are missing at a row's end are None."""
    rows = csv_rows(file, delimiter)
    next(rows, None)
    for line, cells in rows:
        if isinstance(cells, NotARow):
            yield line, cells
        elif len(cells) > len(header):
            yield line, NotARow(NOT_A_ROW)
        else:
            missing = [None] * (len(header) - len(cells))
            yield line, dict(zip(header, [*cells, *missing], strict=True))


# --- the header ---------------------------------------------------------------------------------------------


def delimiter_of(path: SafePath, usual: str, named: str) -> str:
    """`usual`, if the first line holds it, or else the mark that it does hold.

    Spreadsheets write semicolons where the comma is the decimal mark, whatever the file's ending says.
    Raises `UserError` as `csv_header` does.
    """
    outside_quotes = _QUOTED.sub("", _first_line(path, named))
    delimiter = next((mark for mark in (usual, *_MARKS) if mark in outside_quotes), usual)
    csv_header(path, named, delimiter)
    return delimiter


def _first_line(path: SafePath, named: str) -> str:
    with open_text(path) as file:
        lines = (line for _, line in text_lines(file) if isinstance(line, NotARow) or line.strip())
        line = next(lines, "")
    if isinstance(line, NotARow):
        raise UserError(f"{named} has no header that can be read ({line.reason}): give it one")
    return line


def csv_header(path: SafePath, named: str, delimiter: str = ",") -> list[str]:
    """The names in the first row; none of an empty file. Raises `UserError`, which calls the table `named`,
    if it can't be read or `check_names` refuses it."""
    with open_text(path) as file:
        _, cells = next(csv_rows(file, delimiter), (0, []))
    if isinstance(cells, NotARow):
        raise UserError(f"{named} has no header that can be read ({cells.reason}): give it one")
    check_names(cells, named)
    return cells


def check_names(names: Iterable[str], named: str) -> None:
    """Raises `UserError` if two columns have one name, or the name of one can't be written down."""
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
