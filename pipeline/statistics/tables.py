"""Reading CSV, TSV, JSON lines and Parquet in batches, whatever their size."""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.types as types

from pipeline.delimited import NotARow, check_names, delimiter_of, open_text, text_lines
from pipeline.errors import UserError, fault_of_the_machine, first_line, listed, shown
from pipeline.isolation import parquet
from pipeline.safe_json import NotJson, parse_json
from pipeline.safe_paths import FOLDER, SafePath, UnsafePath

_BATCH_ROWS = 1 << 16
_BATCH_CELLS = 1 << 20
_JSON_BATCH_ROWS = 1 << 16
_READ_BYTES = 1 << 22

Batches = Iterator[pa.RecordBatch]


class NotATable(ValueError):
    """A line that is no row; the message is why."""


@dataclass(frozen=True)
class Table:
    """A file of which any columns can be read in batches."""

    path: Path
    columns: list[str]
    """Those that hold one value a row; lists, structs and bytes are neither clusters nor labels."""
    read: Callable[[Sequence[str]], Batches]
    """Batches with the columns named. Raises `UserError` where the file turns out to be broken."""

    def check_columns(self, names: Sequence[str]) -> None:
        """Raises `UserError` unless there are such columns."""
        columns = set(self.columns)
        for name in names:
            if name not in columns:
                raise UserError(f"{self.path} has no column {shown(name)}: it has {listed(self.columns)}")


def open_table(path: Path) -> Table:
    """Raises `UserError` if `path` is missing, empty or not a table."""
    try:
        with SafePath(path).open_binary() as file:
            is_empty = not file.read(1)
    except UnsafePath as unsafe:
        if unsafe.reason == FOLDER:
            raise UserError(f"{path} is a folder: name one table file in it") from None
        raise
    if is_empty:
        raise UserError(f"{path} is empty: give a file with columns and rows")
    open_columns = _FORMATS.get(path.suffix.lower())
    if open_columns is None:
        raise UserError(f"{path} is not a table by its name: it must end in {listed(list(_FORMATS))}")

    def read(columns: Sequence[str]) -> Batches:
        with _told_as_broken(path):
            yield from batches(path, columns)

    with _told_as_broken(path):
        columns, batches = open_columns(path)
    columns = [name for name in columns if name]
    check_names(columns, str(path))
    return Table(path, columns, read)


@contextmanager
def _told_as_broken(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except UnicodeError:
        raise UserError(f"{path} is not UTF-8 text: save it as UTF-8") from None
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
        if fault_of_the_machine(error):
            raise
        if "invalid UTF8" in str(error):  # what Arrow says of such a cell
            raise UserError(f"{path} is not UTF-8 text: save it as UTF-8") from None
        reason = first_line(error)
        raise UserError(f"{path} cannot be read as a {path.suffix} table: {reason}") from None


_Opened = tuple[list[str], Callable[[Path, Sequence[str]], Batches]]


def _open_parquet(path: Path) -> _Opened:
    (outline,) = parquet.outlines([SafePath(path)])
    return [field.name for field in outline.schema if _holds_one_value(field.type)], _read_parquet


def _read_parquet(path: Path, columns: Sequence[str]) -> Batches:
    rows = min(_BATCH_ROWS, max(1, _BATCH_CELLS // len(columns)))
    for batch in parquet.batches(SafePath(path), rows, columns, keep_dictionaries=True):
        if isinstance(batch, parquet.Damaged):
            raise NotATable(batch.why)
        yield batch


def _holds_one_value(kind: pa.DataType) -> bool:
    if types.is_dictionary(kind):
        return _holds_one_value(kind.value_type)
    return not (types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind))


def _open_delimited(path: Path, usual: str) -> _Opened:
    delimiter = delimiter_of(SafePath(path), usual, str(path))
    with (
        SafePath(path).pinned() as file,
        pyarrow.csv.open_csv(file, _in_blocks(), _delimited_by(delimiter)) as reader,
    ):
        return reader.schema.names, partial(_read_delimited, delimiter=delimiter)


def _read_delimited(path: Path, columns: Sequence[str], delimiter: str) -> Batches:
    # Every value stays the text that it is: types guessed from the first block fail on a later one.
    convert = pyarrow.csv.ConvertOptions(
        include_columns=list(columns),
        column_types=dict.fromkeys(columns, pa.string()),
        strings_can_be_null=False,
    )
    with (
        SafePath(path).pinned() as file,
        pyarrow.csv.open_csv(file, _in_blocks(), _delimited_by(delimiter), convert) as reader,
    ):
        yield from reader


def _in_blocks() -> pyarrow.csv.ReadOptions:
    return pyarrow.csv.ReadOptions(block_size=_READ_BYTES)


def _delimited_by(delimiter: str) -> pyarrow.csv.ParseOptions:
    return pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)


def _open_json_lines(path: Path) -> _Opened:
    with open_text(SafePath(path)) as file:
        first_rows = list(itertools.islice(_json_rows(file), _JSON_BATCH_ROWS))
    nested = {name for row in first_rows for name, value in row.items() if isinstance(value, list | dict)}
    names = dict.fromkeys(name for row in first_rows for name in row)
    return [name for name in names if name not in nested], _read_json_lines


def _read_json_lines(path: Path, columns: Sequence[str]) -> Batches:
    with open_text(SafePath(path)) as file:
        rows = _json_rows(file)
        while batch := list(itertools.islice(rows, _JSON_BATCH_ROWS)):
            arrays = [pa.array([_as_text(row.get(name)) for row in batch], pa.string()) for name in columns]
            yield pa.record_batch(arrays, names=list(columns))


def _json_rows(file: TextIO) -> Iterator[dict[str, Any]]:
    for number, line in text_lines(file):
        if isinstance(line, NotARow):
            raise NotATable(f"line {number}: {line.reason}")
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except NotJson as error:
            raise NotATable(f"line {number} is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise NotATable(f"line {number} is not an object")
        yield row


def _as_text(value: Any) -> str | None:
    # A column may hold numbers on one line and text on the next; as text they are one type.
    if value is None or isinstance(value, str) or value != value:
        return value if isinstance(value, str) else None
    return json.dumps(value, ensure_ascii=False)


_FORMATS: dict[str, Callable[[Path], _Opened]] = {
    ".csv": partial(_open_delimited, usual=","),
    ".tsv": partial(_open_delimited, usual="\t"),
    ".jsonl": _open_json_lines,
    ".ndjson": _open_json_lines,
    ".parquet": _open_parquet,
}
