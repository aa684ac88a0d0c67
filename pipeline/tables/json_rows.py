"""Rows of JSON Lines, or of one JSON array of objects."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.runtime.errors import UserError
from pipeline.runtime.json_text import NotJson, RepeatedKey, parse_json
from pipeline.tables.lines import NOT_A_ROW, NOT_UTF_8, NotARow, open_text, text_lines
from pipeline.tables.records import Numbered, Record, is_unicode, of_text
from pipeline.untrusted.safe_paths import SafePath

LARGEST_ARRAY = 1 << 24
"""Maximum number of characters of a JSON array, which is read as a whole; parsed, it takes fifty times as
many bytes."""


def json_rows(path: SafePath, named: str) -> Callable[[Sequence[str] | None], Numbered]:
    """Returns a function that reads the rows, with all or the given columns.

    Raises `UserError`, which calls the file `named`, if it is of another form.
    """
    array = _array(path, named)
    if array is None:
        _check_is_not_over_lines(path, named)

    def rows(columns: Sequence[str] | None) -> Numbered:
        taken = _json_lines(path) if array is None else _json_items(path, array)
        return taken if columns is None else _with_columns(taken, set(columns))

    return rows


def _array(path: SafePath, named: str) -> list[Any] | None:
    """Returns the items of a file that is a single array; None for other files. Raises `UserError` for an
    array that is too large."""
    with open_text(path) as file:
        written = file.read(1 << 12).lstrip("\ufeff \t\r\n")
        if not written.startswith("["):
            return None
        written += file.read(LARGEST_ARRAY)
        is_whole = not file.read(1)
    try:
        if not is_whole:
            raise NotJson("it is too large")
        value = parse_json(written)
    except NotJson:
        if not is_whole and re.match(r"\[\s*\{", written):
            raise UserError(
                f"{named} is a JSON array of more than {LARGEST_ARRAY >> 20} MiB, which is read as a whole: "
                "write JSON Lines instead, one object per line"
            ) from None
        return None
    return value if isinstance(value, list) else None


def _check_is_not_over_lines(path: SafePath, named: str) -> None:
    with open_text(path) as file:
        _, line = next(text_lines(file), (0, ""))
    if isinstance(line, str) and line.strip() == "{":
        raise UserError(
            f"{named} holds objects of JSON over several lines each: write one object per line, or an array"
        )


def _json_lines(path: SafePath) -> Numbered:
    with open_text(path) as file:
        for number, line in text_lines(file):
            where = f"{path.name} line {number}"
            if isinstance(line, NotARow):
                yield where, line
            elif line.strip():
                yield where, _of_json(_parsed(line))


def _json_items(path: SafePath, array: list[Any]) -> Numbered:
    for number, value in enumerate(array, start=1):
        yield f"{path.name} item {number}", _of_json(value)


def _with_columns(rows: Numbered, columns: set[str]) -> Numbered:
    for where, record in rows:
        if not isinstance(record, NotARow):
            record = {name: cell for name, cell in record.items() if name in columns}
        yield where, record


def _parsed(written: str) -> Any:
    try:
        return parse_json(written)
    except NotJson as error:
        # UTF-16 contains bytes that are not UTF-8, or zeros.
        if "\0" in written or not is_unicode(written):
            return NotARow(NOT_UTF_8)
        return NotARow(f"{NOT_A_ROW}: {error}")


def _of_json(value: Any) -> Record | NotARow:
    if isinstance(value, NotARow):
        return value
    if isinstance(value, RepeatedKey):
        return NotARow(value.reason)
    return of_text(value) if isinstance(value, dict) else NotARow(NOT_A_ROW)
