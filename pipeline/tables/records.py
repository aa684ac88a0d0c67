"""Rows of tables as records of columns and cells."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from pipeline.tables.lines import NOT_UTF_8, NotARow

Record: TypeAlias = dict[str, Any]
Numbered: TypeAlias = Iterator[tuple[str, Record | NotARow]]
"""Rows with their places, such as a line number."""

MOST_COLUMNS = 10_000
"""Maximum number of attributes, since each row is stored with a cell of every column."""


def of_text(record: Record | NotARow) -> Record | NotARow:
    """Returns `record`, or the reason to refuse it if a text in it is not Unicode."""
    if isinstance(record, NotARow) or is_unicode(record):
        return record
    return NotARow(NOT_UTF_8)


def is_unicode(value: Any) -> bool:
    """Returns False for a text, list or record with bytes that are not UTF-8, or with escaped lone
    surrogates."""
    if isinstance(value, str):
        return value.isascii() or _is_encodable(value)
    if isinstance(value, dict):
        return all(map(is_unicode, value)) and all(map(is_unicode, value.values()))
    return not isinstance(value, list | tuple) or all(map(is_unicode, value))


def _is_encodable(written: str) -> bool:
    try:
        written.encode()
    except UnicodeEncodeError:
        return False
    return True


def names_in(records: Iterable[Record]) -> tuple[list[str], list[str]]:
    """Returns the columns of `records` in order of appearance, and those with a list or an object in any
    record. Stops when there are too many columns to store."""
    names: dict[str, None] = {}
    no_values: dict[str, None] = {}
    for record in records:
        names |= dict.fromkeys(record)
        no_values |= dict.fromkeys(name for name, cell in record.items() if isinstance(cell, list | dict))
        if len(names) > MOST_COLUMNS:
            break
    return list(names), list(no_values)
