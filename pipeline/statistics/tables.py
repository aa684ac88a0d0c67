"""Tables of any size, read in batches of columns: Parquet in Arrow's types, everything else as text."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.runtime.errors import UserError, first_line, listed, shown, system_error_message
from pipeline.statistics.values import indices_of
from pipeline.tables import reading
from pipeline.tables.cells import LONGEST_TEXT, TOO_LONG, NotOneValue, text
from pipeline.tables.class_labels import NotAClass, named
from pipeline.tables.lines import NotARow
from pipeline.tables.records import Numbered, Record
from pipeline.tables.refused import Refused
from pipeline.untrusted.isolation import parquet
from pipeline.untrusted.safe_paths import SafePath
from pipeline.untrusted.unsafe_path import FOLDER, UnsafePath

_BATCH_ROWS = 1 << 16
_BATCH_CELLS = 1 << 20
_BATCH_CHARACTERS = 1 << 24

Batches = Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class ColumnTable:
    """A file whose columns can be read in batches."""

    path: Path
    columns: list[str]
    """Columns with one value per row."""
    no_values: list[str]
    """Columns of lists, structs or bytes, which are neither clusters nor labels."""
    read: Callable[[Sequence[str]], Batches]
    """Reads batches of the named columns. Raises `UserError` if the file turns out to be broken."""
    notes: list[str]
    refused: Refused
    """The refused rows among those read so far."""

    def check_columns(self, names: Sequence[str]) -> None:
        """Raises `UserError` if one of these columns does not exist."""
        columns, no_values = set(self.columns), set(self.no_values)
        for name in names:
            if name in no_values:
                raise UserError(
                    f"column {shown(name)} of {self.path} holds lists, objects or bytes, which are no "
                    "clusters or labels"
                )
            if name not in columns:
                available = listed(self.columns) or "none with a name"
                raise UserError(f"{self.path} has no column {shown(name)}: it has {available}")


def open_table(path: Path) -> ColumnTable:
    """Opens a table.

    Raises `UserError` if `path` is missing, empty or not a table.
    """
    try:
        with SafePath(path).open_binary() as file:
            is_empty = not file.read(1)
    except UnsafePath as unsafe:
        if unsafe.reason == FOLDER:
            raise UserError(f"{path} is a folder: name one table file in it") from None
        raise
    if is_empty:
        raise UserError(f"{path} is empty: give a file with columns and rows")
    with _broken_table_error(path):
        table = reading.open_table_file(SafePath(path), str(path))
    refused = Refused()

    def read(columns: Sequence[str]) -> Batches:
        with _broken_table_error(path):
            if reading.ending_of(SafePath(path)) == ".parquet":
                yield from _parquet_batches(path, columns, table.class_names, refused)
            else:
                yield from _text_batches(table.rows(columns), columns, refused)

    no_values = set(table.no_values)
    columns = [name for name in table.columns if name and name not in no_values]
    return ColumnTable(path, columns, table.no_values, read, table.notes, refused)


@contextmanager
def _broken_table_error(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
        if system_error_message(error):
            raise
        reason = first_line(error)
        raise UserError(f"{path} cannot be read as a {path.suffix} table: {reason}") from None


def _parquet_batches(
    path: Path, columns: Sequence[str], class_names: dict[str, list[str]], refused: Refused
) -> Batches:
    most_rows = min(_BATCH_ROWS, max(1, _BATCH_CELLS // len(columns)))
    above = 0
    for batch in parquet.batches(SafePath(path), most_rows, columns, keep_dictionaries=True):
        if isinstance(batch, parquet.Damaged):
            refused.add(f"this part of the file is damaged: {batch.why}", path.name, batch.rows)
            above += batch.rows
        else:
            yield _usable_rows(batch, class_names, f"{path.name} row", above, refused)
            above += batch.num_rows


def _usable_rows(
    batch: pa.RecordBatch, class_names: dict[str, list[str]], row: str, above: int, refused: Refused
) -> pa.RecordBatch:
    """Returns the rows without a text of more than `LONGEST_TEXT` characters and without a class that has no
    name; `above`: the rows before."""
    columns = batch.columns
    reason_of: dict[int, str] = {}
    for place, name in enumerate(batch.schema.names):
        if name in class_names and pa.types.is_integer(_value_type(columns[place])):
            columns[place], nameless = _named_column(columns[place], class_names[name])
            reason_of |= nameless
    reason_of |= dict.fromkeys(np.flatnonzero(np.logical_or.reduce(list(map(_are_long, columns)))), TOO_LONG)
    for place in sorted(reason_of):
        refused.add(reason_of[place], f"{row} {above + place + 1}")
    if not reason_of:
        return pa.record_batch(columns, names=batch.schema.names)
    kept_N = np.ones(len(batch), bool)
    kept_N[list(reason_of)] = False
    columns = [_without_long_entries(column) for column in columns]
    return pa.record_batch(columns, names=batch.schema.names).filter(pa.array(kept_N))


def _value_type(column: pa.Array) -> pa.DataType:
    return column.type.value_type if pa.types.is_dictionary(column.type) else column.type


def _named_column(column: pa.Array, names: list[str]) -> tuple[pa.Array, dict[int, str]]:
    """Returns a column of class numbers as a dictionary of their names, and for each row whose class has no
    name the reason to refuse it."""
    numbers = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    coded = numbers.dictionary_encode()
    entries: list[str | None] = []
    reasons: dict[int, str] = {}
    for code, number in enumerate(coded.dictionary.to_pylist()):
        try:
            entries.append(named(number, names))
        except NotAClass as not_a_class:
            entries.append(None)
            reasons[code] = str(not_a_class)
    nameless_N = pc.is_in(coded.indices, value_set=pa.array(list(reasons), coded.indices.type))
    rows = np.flatnonzero(nameless_N.to_numpy(zero_copy_only=False)).tolist()
    named_N = pa.DictionaryArray.from_arrays(coded.indices, pa.array(entries, pa.string()))
    return named_N, {row: reasons[coded.indices[row].as_py()] for row in rows}


def _are_long(column: pa.Array) -> NDArray[np.bool_]:
    if pa.types.is_dictionary(column.type):
        of_entries = np.append(_are_long(column.dictionary), False)
        return of_entries[indices_of(column)]
    if reading.is_binary(column.type):
        column = column.cast(pa.large_binary()).view(pa.large_string())
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return np.zeros(len(column), bool)
    lengths_N: NDArray[np.int64] = pc.utf8_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    return lengths_N > LONGEST_TEXT


def _without_long_entries(column: pa.Array) -> pa.Array:
    """Replaces long entries of a dictionary, which keeps those of rows that are left out, by null."""
    if not pa.types.is_dictionary(column.type):
        return column
    entries = column.dictionary
    short = pc.if_else(pa.array(_are_long(entries)), pa.scalar(None, entries.type), entries)
    return pa.DictionaryArray.from_arrays(column.indices, short)


def _text_batches(rows: Numbered, columns: Sequence[str], refused: Refused) -> Batches:
    for records in _in_batches(rows, max(1, min(_BATCH_ROWS, _BATCH_CELLS // len(columns))), refused):
        arrays = [
            pa.array([_as_text(record.get(name)) for record in records], pa.string()) for name in columns
        ]
        yield pa.record_batch(arrays, names=list(columns))


def _in_batches(rows: Numbered, most_rows: int, refused: Refused) -> Iterator[list[Record]]:
    """Yields batches of `most_rows` rows, or fewer if their texts are long."""
    records: list[Record] = []
    characters = 0
    for where, record in rows:
        if isinstance(record, NotARow):
            refused.add(record.reason, where)
            continue
        lengths = [len(cell) for cell in record.values() if isinstance(cell, str)]
        if max(lengths, default=0) > LONGEST_TEXT:
            refused.add(TOO_LONG, where)
            continue
        records.append(record)
        characters += sum(lengths)
        if len(records) == most_rows or characters > _BATCH_CHARACTERS:
            yield records
            records, characters = [], 0
    yield records


def _as_text(cell: Any) -> str | None:
    """Returns a cell as text; None for a list or an object, which is not one value."""
    try:
        return cell if isinstance(cell, str) else text(cell)
    except NotOneValue:
        return None
