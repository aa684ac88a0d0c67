"""Opens tables of any format: columns and rows, for ingest and `clinfonce statistics`."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice, repeat
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.types as types

from pipeline.runtime.errors import UserError, listed
from pipeline.runtime.json_text import NotJson, RepeatedKey, parse_json
from pipeline.tables.cells import NotOneValue, TooLarge, text
from pipeline.tables.class_labels import NotAClass, class_names, named_record
from pipeline.tables.delimited import check_names, csv_records, read_head
from pipeline.tables.file_series import series_notes
from pipeline.tables.lines import NOT_A_ROW, NOT_UTF_8, NotARow, open_text, text_lines
from pipeline.untrusted.isolation.parquet import Damaged, NotParquet, ParquetHeader, parquet_headers, records
from pipeline.untrusted.safe_paths import SafePath

Record: TypeAlias = dict[str, Any]
Numbered: TypeAlias = Iterator[tuple[str, Record | NotARow]]
"""Rows with their places, such as a line number."""

MOST_COLUMNS = 10_000
"""Maximum number of attributes, since each row is stored with a cell of every column."""
LARGEST_ARRAY = 1 << 24
"""Maximum number of characters of a JSON array, which is read as a whole; parsed, it takes fifty times as
many bytes."""
ROWS_PER_BATCH = 4096
ROWS_SNIFFED = 100
"""Number of rows of a binary column that decide whether it holds text."""


@dataclass(frozen=True)
class TableFile:
    columns: list[str]
    rows: Callable[[Sequence[str] | None], Numbered]
    """Returns the rows, with all or the given columns."""
    no_values: list[str] = field(default_factory=list)
    """Columns of lists, objects or non-text bytes, which are neither labels nor attributes."""
    notes: list[str] = field(default_factory=list)
    count: int | None = None
    """The number of rows, if known."""
    class_names: dict[str, list[str]] = field(default_factory=dict)
    """The names of the numbers in each column of ClassLabels; `rows` returns names."""


def ending_of(path: SafePath) -> str:
    return path.path.suffix.lower()


def open_table_file(path: SafePath, named: str) -> TableFile:
    """Reads the columns of a table.

    Raises `UserError`, which calls the table `named`, if it cannot be read or has an unknown extension.
    """
    if ending_of(path) not in FORMATS:
        raise UserError(f"{named} must end in {listed(sorted(FORMATS))}: rename or convert it")
    table = FORMATS[ending_of(path)](path, named)
    check_names(table.columns, named)
    return replace(table, notes=table.notes + series_notes(path.path))


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


# --- text ---------------------------------------------------------------------------------------------------


def _open_delimited(path: SafePath, named: str, usual: str) -> TableFile:
    head = read_head(path, named, usual)

    def rows(columns: Sequence[str] | None) -> Numbered:
        with open_text(path) as file:
            for line, record in csv_records(file, head, None if columns is None else set(columns)):
                yield f"{path.name} line {line}", _of_text(record)

    return TableFile(head.names, rows, notes=head.notes)


def _of_text(record: Record | NotARow) -> Record | NotARow:
    if isinstance(record, NotARow) or is_unicode(record):
        return record
    return NotARow(NOT_UTF_8)


def _open_json(path: SafePath, named: str) -> TableFile:
    """Opens JSON Lines, or an array of objects."""
    array = _array(path, named)

    def rows(columns: Sequence[str] | None) -> Numbered:
        taken = _json_lines(path) if array is None else _json_items(path, array)
        return taken if columns is None else _with_columns(taken, set(columns))

    if array is None:
        _check_is_not_over_lines(path, named)
    # Keys may first appear in any row, so all rows are read.
    names, no_values = names_in(record for _, record in rows(None) if isinstance(record, dict))
    if not names:
        _check_is_empty(rows(None), named)
    return TableFile(names, rows, no_values)


def _check_is_empty(rows: Numbered, named: str) -> None:
    """Raises `UserError` with the reason if there are rows, but none can be read."""
    for where, record in rows:
        if isinstance(record, NotARow):
            raise UserError(f"{named} holds no row that can be read: {record.reason}, in {where}")


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
    return _of_text(value) if isinstance(value, dict) else NotARow(NOT_A_ROW)


# --- Parquet ------------------------------------------------------------------------------------------------


def _open_parquet(path: SafePath, named: str) -> TableFile:
    outline = _outline(path, named)
    names = class_names(outline.schema)

    def rows(columns: Sequence[str] | None) -> Numbered:
        read = records(path, ROWS_PER_BATCH, columns)
        taken = chain.from_iterable(_of_parquet(record, names) for record in read)
        for number, record in enumerate(taken, start=1):
            yield f"{path.name} row {number}", record

    return TableFile(
        list(outline.schema.names),
        rows,
        no_values(path, outline.schema),
        count=outline.rows,
        class_names=names,
    )


def _of_parquet(record: Record | Damaged, names: dict[str, list[str]]) -> Iterable[Record | NotARow]:
    if isinstance(record, Damaged):
        return repeat(NotARow(f"this part of the file is damaged: {record.why}"), record.rows)
    try:
        return (named_record(record, names),)
    except NotAClass as not_a_class:
        return (NotARow(str(not_a_class)),)


def _outline(path: SafePath, named: str) -> ParquetHeader:
    try:
        return parquet_headers([path])[0]
    except NotParquet as error:
        raise UserError(f"{named} is not a Parquet file: {error}") from None


def no_values(path: SafePath, schema: pa.Schema, but: Collection[str] = ()) -> list[str]:
    """Returns the columns of a Parquet file with lists, structs, or non-text bytes. Those in `but` hold
    images and are not read."""
    nested = [field.name for field in schema if _is_nested(field.type)]
    images = [field.name for field in schema if field.name in but and is_binary(field.type)]
    binary = [field.name for field in schema if field.name not in but and is_binary(field.type)]
    texts = _columns_of_text(path, binary) if binary else set()
    return nested + images + [name for name in binary if name not in texts]


def is_binary(kind: pa.DataType) -> bool:
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _is_nested(kind: pa.DataType) -> bool:
    return _is_nested(kind.value_type) if types.is_dictionary(kind) else bool(types.is_nested(kind))


def _columns_of_text(path: SafePath, binary: list[str]) -> set[str]:
    """Returns the columns of `binary` whose first rows hold text, and nothing else."""
    filled: set[str] = set()
    other: set[str] = set()
    # One row at a time, since the images of a hundred rows can take gigabytes.
    for record in islice(records(path, ROWS_SNIFFED, binary), ROWS_SNIFFED):
        for name, cell in record.items() if isinstance(record, dict) else ():
            try:
                is_text = text(cell) is not None
            except TooLarge:
                is_text = True
            except NotOneValue:
                is_text = False
                other.add(name)
            if is_text:
                filled.add(name)
    return filled - other


FORMATS: dict[str, Callable[[SafePath, str], TableFile]] = {
    ".csv": partial(_open_delimited, usual=","),
    ".tsv": partial(_open_delimited, usual="\t"),
    ".json": _open_json,
    ".jsonl": _open_json,
    ".ndjson": _open_json,
    ".parquet": _open_parquet,
}
