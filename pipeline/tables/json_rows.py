"""Rows of JSON Lines, or of one JSON array of objects."""

import re
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from pipeline.runtime.errors import UserError, listed
from pipeline.runtime.json_text import NotJson, RepeatedKey, parse_json
from pipeline.tables.hashtags import NAMES
from pipeline.tables.lines import NOT_A_ROW, NOT_UTF_8, NotARow, open_text, text_lines
from pipeline.tables.records import Numbered, Record, is_unicode, of_text
from pipeline.untrusted.safe_paths import SafePath

LARGEST_ARRAY = 1 << 24
"""Maximum number of characters of a JSON array or single object, which is read as a whole; parsed, it takes
fifty times as many bytes."""
NO_ROWS = "write one row per image, with its path and its label, as an array or as one object per line"


def json_rows(path: SafePath, named: str) -> Callable[[Sequence[str] | None], Numbered]:
    """Returns a function that reads the rows, with all or the given columns.

    Raises `UserError`, which calls the file `named`, if it is of another form.
    """
    array = _array(path, named)
    if array is None:
        _check_is_not_one_object(path, named)

    def rows(columns: Sequence[str] | None) -> Numbered:
        taken = _json_lines(path) if array is None else _json_items(path, array)
        return taken if columns is None else _with_columns(taken, set(columns))

    return rows


def _array(path: SafePath, named: str) -> list[Any] | None:
    """Returns the items of a file that is a single array; None for other files. Raises `UserError` for an
    array that is too large, and for a single object that is no row."""
    with open_text(path) as file:
        written = file.read(1 << 12).lstrip("\ufeff \t\r\n")
        if not written.startswith(("[", "{")) or _are_lines(path):
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
    if isinstance(value, dict) and not isinstance(value, RepeatedKey):
        _check_is_a_row(value, named)
    return value if isinstance(value, list) else None


def _are_lines(path: SafePath) -> bool:
    """Returns whether the first two lines each begin an object: JSON Lines are not read as a whole."""
    with open_text(path) as file:
        lines = [line for _, line in islice(text_lines(file), 2)]
    return len(lines) == 2 and all(isinstance(line, str) and line.startswith("{") for line in lines)


def _check_is_a_row(value: dict[str, Any], named: str) -> None:
    """Raises `UserError` for an object that holds a whole data set, as COCO and FiftyOne write it."""
    lists = [name for name, cell in value.items() if isinstance(cell, list)]
    objects = [name for name, cell in value.items() if isinstance(cell, dict)]
    rows = [name for name in lists if _are_rows(value[name])]
    has_text = any(isinstance(cell, str) for cell in value.values())
    if not rows and (has_text or not lists + objects):
        return
    of_lists = f", of which {listed(lists)} hold lists" if lists else ", of which none holds a list"
    some = f" (a list of rows is under {listed(rows)})" if rows else ""
    keys = listed(list(value))
    raise UserError(
        f"{named} holds one JSON object and no rows, with the keys {keys}{of_lists}: {NO_ROWS}{some}"
    )


def _are_rows(cell: list[Any]) -> bool:
    """Returns whether a list holds several objects that are no hashtags."""
    are_objects = len(cell) > 1 and all(isinstance(part, dict) for part in cell)
    return are_objects and not all(any(name in part for name in NAMES) for part in cell)


def _check_is_not_one_object(path: SafePath, named: str) -> None:
    """Raises `UserError` for objects over several lines, and for a single one that is too long for a line."""
    with open_text(path) as file:
        lines = [line for _, line in islice(text_lines(file), 2)]
        file.seek(0)
        is_object = file.read(1) == "{"
    if lines and isinstance(lines[0], str) and lines[0].strip() == "{":
        raise UserError(
            f"{named} holds objects of JSON over several lines each: write one object per line, or an array"
        )
    if is_object and len(lines) == 1 and isinstance(lines[0], NotARow):
        raise UserError(f"{named} holds one JSON object and no rows ({lines[0].reason}): {NO_ROWS}")


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
