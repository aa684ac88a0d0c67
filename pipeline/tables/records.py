"""Rows of tables as records of columns and cells."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from pipeline.tables.lines import NOT_UTF_8, NotARow

Record: TypeAlias = dict[str, Any]
Numbered: TypeAlias = Iterator[tuple[str, Record | NotARow]]
"""Rows with their places, such as a line number."""

HALF_CHARACTER = "a text holds half of a character, such as a cut emoji: write it whole, or leave it out"
_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Surrogates that JSON escapes, without those that stand for bytes that are not UTF-8."""
MOST_COLUMNS = 10_000
"""Maximum number of attributes, since each row is stored with a cell of every column."""


def of_text(record: Record | NotARow) -> Record | NotARow:
    """Returns `record`, or the reason to refuse it if a text in it is not Unicode."""
    if isinstance(record, NotARow) or is_unicode(record):
        return record
    return NotARow(why_not_unicode(record, NOT_UTF_8))


def is_unicode(value: Any) -> bool:
    """Returns False for a text, list or record with bytes that are not UTF-8, or with escaped lone
    surrogates."""
    if isinstance(value, str):
        return value.isascii() or _is_encodable(value)
    if isinstance(value, dict):
        return all(map(is_unicode, value)) and all(map(is_unicode, value.values()))
    return not isinstance(value, list | tuple) or all(map(is_unicode, value))


def why_not_unicode(value: Any, not_utf_8: str) -> str:
    """Returns the reason to refuse a value for which `is_unicode` is False: `not_utf_8` for bytes."""
    return HALF_CHARACTER if any(map(_HALVES.search, _texts_in(value))) else not_utf_8


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts_in([*value, *value.values()])
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts_in(each)


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
