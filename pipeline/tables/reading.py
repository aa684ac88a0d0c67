"""Opens tables of any format: columns and rows, for ingest and `clinfonce statistics`."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice, repeat

import pyarrow as pa
import pyarrow.types as types

from pipeline.runtime.errors import UserError, listed
from pipeline.tables.cells import NotOneValue, TooLarge, text
from pipeline.tables.class_labels import NotAClass, class_names, named_record
from pipeline.tables.delimited import Head, check_names, csv_records, read_head
from pipeline.tables.file_series import series_notes
from pipeline.tables.json_rows import json_rows
from pipeline.tables.lines import NotARow, open_text, text_lines
from pipeline.tables.records import Numbered, Record, names_in, of_text
from pipeline.tables.whole_numbers import cells_with_zeros, may_have_zeros, whole_number_notes, without_zeros
from pipeline.untrusted.isolation.parquet import Damaged, NotParquet, ParquetHeader, parquet_headers, records
from pipeline.untrusted.safe_paths import SafePath

ROWS_PER_BATCH = 4096
COMPRESSED = frozenset({".gz", ".bz2", ".xz", ".zst", ".zip", ".7z"})
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
    ending = ending_of(path)
    if ending not in FORMATS:
        cure = "unpack it" if ending in COMPRESSED else "rename or convert it"
        raise UserError(f"{named} must end in {listed(sorted(FORMATS))}: {cure}")
    table = FORMATS[ending](path, named)
    check_names(table.columns, named)
    return replace(table, notes=table.notes + series_notes(path.path))


# --- text ---------------------------------------------------------------------------------------------------


def _open_delimited(path: SafePath, named: str, usual: str) -> TableFile:
    head = read_head(path, named, usual)
    zeros = _cells_with_zeros(path, head)

    def rows(columns: Sequence[str] | None) -> Numbered:
        with open_text(path) as file:
            for line, record in csv_records(file, head, None if columns is None else set(columns)):
                if zeros and not isinstance(record, NotARow):
                    record = without_zeros(record, zeros)
                yield f"{path.name} line {line}", of_text(record)

    return TableFile(head.names, rows, notes=head.notes + whole_number_notes(zeros))


def _cells_with_zeros(path: SafePath, head: Head) -> dict[str, int]:
    with open_text(path) as file:
        if not may_have_zeros(line for _, line in text_lines(file)):
            return {}
    with open_text(path) as file:
        return cells_with_zeros((record for _, record in csv_records(file, head)), head.names)


def _open_json(path: SafePath, named: str) -> TableFile:
    """Opens JSON Lines, or an array of objects."""
    rows = json_rows(path, named)
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
