"""What stands between the columns of a text table, told by its first line."""

import csv
import re

from pipeline.errors import UserError
from pipeline.safe_paths import SafePath

_MARKS = (",", ";", "\t")
_LONGEST = 1 << 20
_QUOTED = re.compile(r'"[^"]*"')


def delimiter_of(path: SafePath, usual: str, named: str) -> str:
    """`usual`, if the first line holds it, or else the mark that it does hold.

    Spreadsheets write semicolons where the comma is the decimal mark, whatever the file's ending says.
    Raises `UserError`, which calls the table `named`, if the first line is not UTF-8 text or gives two
    columns one name.
    """
    header = _first_line(path, named)
    outside_quotes = _QUOTED.sub("", header)
    delimiter = next((mark for mark in (usual, *_MARKS) if mark in outside_quotes), usual)
    names = next(csv.reader([header], delimiter=delimiter), [])
    # Spreadsheets also write empty columns, which have no name.
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise UserError(f"{named} has several columns {repeated[0]!r}: rename them")
    return delimiter


def _first_line(path: SafePath, named: str) -> str:
    with path.open_binary() as file:
        # A carriage return alone ends a line, too.
        line = re.split(rb"[\r\n]", file.readline(_LONGEST), maxsplit=1)[0]
    try:
        header = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        header = "\0"
    if "\0" in header:
        raise UserError(f"{named} is not UTF-8 text: save it as UTF-8, in a spreadsheet as CSV UTF-8")
    return header
