"""Source `huggingface`: Parquet files with an image column, as Hugging Face `datasets` stores them.

    train-00000-of-00004.parquet, test-00000-of-00001.parquet, ...   in `ingest.path` or a folder below it
    train/*.parquet, test/*.parquet
    kind=cat/*.parquet, kind=dog/*.parquet     a column from folder names
    a single file

An image is binary, or a struct of `bytes` and `path`. `ingest.columns` maps the columns; the names of a
ClassLabel come from the metadata of the schema.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Self
from urllib.parse import unquote

import pyarrow as pa

from pipeline.config.ingest import IngestParams
from pipeline.runtime.errors import UserError, listed
from pipeline.sources.base import Refusal, SourceRow, Split
from pipeline.sources.reading.columns import NO_VALUES, Columns, TableDescription, resolve_columns, row_of
from pipeline.sources.reading.expected_files import named_files
from pipeline.sources.reading.source_root import named_file, source_root
from pipeline.sources.reading.split_names import by_split
from pipeline.tables.cells import are_equal
from pipeline.tables.class_labels import NotAClass, class_names, named_record
from pipeline.tables.delimited import check_names
from pipeline.tables.reading import is_binary, no_values
from pipeline.tables.records import Record, is_unicode, why_not_unicode
from pipeline.untrusted.isolation.parquet import (
    Damaged,
    NotParquet,
    ParquetHeader,
    parquet_headers,
    records,
)
from pipeline.untrusted.safe_paths import Root, SafePath
from pipeline.untrusted.unsafe_path import UnsafePath

WHAT = "a Parquet file, or a folder that holds some"
ROWS_PER_BATCH = 64
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


class HuggingFaceSource:
    """Label, hashtags, attributes and hierarchy: the columns that `ingest.columns` names; split: from the
    names of files or folders, or else from its column. Columns of lists, structs and bytes are not
    attributes."""

    def __init__(
        self,
        root: Root,
        files: dict[SafePath, Split | None],
        outline_of: dict[SafePath, ParquetHeader],
        columns: Columns,
        notes: list[str],
    ) -> None:
        self._root = root
        self._files = files
        self._outline_of = outline_of
        self._columns = columns
        self._notes = notes
        self.attribute_names = columns.attributes

    @property
    def notes(self) -> list[str]:
        return self._notes + self._columns.notes()

    @classmethod
    def open(cls, params: IngestParams, _seed: int) -> Self:
        """Reads only the schemas. Raises `UserError` for invalid files and for differing columns."""
        named = named_files(params, ".parquet", "Parquet files", WHAT)
        files, notes = by_split(named.files, named.folder)
        outline_of = _outlines(list(files))
        first, schema = next((file, outline.schema) for file, outline in outline_of.items())
        for file, outline in outline_of.items():
            if different := set(outline.schema.names) ^ set(schema.names):
                raise UserError(
                    f"{file} has other columns than {first} ({listed(sorted(different))}): name files of one "
                    "data set"
                )
        in_path = _in_path(first.path, named.folder)
        present = [*schema.names, *(name for name in in_path if name not in schema.names)]
        check_names(present, str(first))
        no_text = no_values(first, schema, but=[params.columns.image])
        provided = ("split",) if None not in files.values() else ()
        table = TableDescription("the Parquet files have", f"the Parquet files of {named.path}")
        columns, column_notes = resolve_columns(params.columns, present, table, provided, no_text)
        if provided:
            columns = replace(columns, split=None)
        used = {columns.image, columns.hashtags, *columns.attributes}
        if left_out := [name for name in no_text if name not in used]:
            notes.append(f"{NO_VALUES}: {listed(left_out)}")
        for file, outline in outline_of.items():
            _check_image_column(outline.schema, columns.image, file)
        root = source_root(named.folder, params)
        return cls(root, files, outline_of, columns, named.notes + notes + column_notes)

    def __length_hint__(self) -> int:
        return min(sys.maxsize, sum(outline.rows for outline in self._outline_of.values()))

    def rows(self) -> Iterator[SourceRow | Refusal]:
        self._columns.notices.clear()
        for path, split in self._files.items():
            place = str(path.path.relative_to(self._root.folder))
            names = class_names(self._outline_of[path].schema)
            in_path = _in_path(path.path, self._root.folder)
            for number, record in enumerate(self._records(path)):
                where = f"{place} row {number}"
                if isinstance(record, Refusal):
                    yield replace(record, where=where)
                else:
                    yield self._row(where, f"{place}#{number}", record, in_path, names, split)

    def _records(self, path: SafePath) -> Iterator[Record | Refusal]:
        """Yields every row, or a refusal in place of each damaged row."""
        for record in records(path, ROWS_PER_BATCH, self._used(self._outline_of[path].schema)):
            if isinstance(record, Damaged):
                yield from repeat(Refusal("", f"this part of the file is damaged: {record.why}"), record.rows)
            else:
                yield record

    def _used(self, schema: pa.Schema) -> list[str]:
        used = self._columns.used()
        return [name for name in schema.names if name in used]

    def _row(
        self,
        where: str,
        id: str,
        record: Record,
        in_path: dict[str, str | None],
        names: dict[str, list[str]],
        split: Split | None,
    ) -> SourceRow | Refusal:
        image = record.pop(self._columns.image, None)
        if not isinstance(image, dict):
            image = {"bytes": image, "path": None}
        try:
            record = named_record(record, names)
        except NotAClass as not_a_class:
            return Refusal(where, str(not_a_class))
        for name, value in in_path.items():
            cell = record.get(name)
            if None not in (cell, value) and not are_equal(cell, value):
                return Refusal(where, f"its folder and its row differ in the column {name!r}")
            record[name] = value if cell is None else cell
        if not is_unicode(record):
            return Refusal(where, why_not_unicode(record, "the row is not UTF-8 text"))
        encoded, path = image.get("bytes"), image.get("path")
        if path is not None and not isinstance(path, str):
            return Refusal(where, "the image's path is no text")
        if encoded is not None and not isinstance(encoded, bytes):
            return Refusal(where, "the image is no bytes: the file has changed since it was opened")
        if not encoded and not path:
            return Refusal(where, "the row has no image")
        try:
            # Without bytes, the path is that of a file.
            content = encoded or named_file(self._root, str(path), self._columns.notices)[1]
        except UnsafePath as unsafe:
            return Refusal(where, unsafe.reason)
        row = row_of(record, self._columns, where, path or id, content, id)
        return row if isinstance(row, Refusal) or split is None else replace(row, split=split)


def _in_path(file: Path, folder: Path) -> dict[str, str | None]:
    """Returns the columns in folder names, such as `colour=red`, as written by Hive."""
    parts = [part.partition("=") for part in file.relative_to(folder).parts[:-1] if "=" in part]
    return {unquote(name): None if value == HIVE_NULL else unquote(value) for name, _, value in parts if name}


def _outlines(files: list[SafePath]) -> dict[SafePath, ParquetHeader]:
    try:
        return dict(zip(files, parquet_headers(files), strict=True))
    except NotParquet as error:
        raise UserError(
            f"{error.path} can't be read as Parquet: {error}: fix it or download it again"
        ) from None


def _check_image_column(schema: pa.Schema, name: str, file: SafePath) -> None:
    kind = schema.field(name).type
    fields = {field.name: field.type for field in kind} if pa.types.is_struct(kind) else {}
    if not is_binary(fields.get("bytes", kind)):
        raise UserError(
            f"the column {name!r} (ingest.columns.image) of {file} must hold images, as a binary or a struct "
            f"of bytes and path, and holds {kind}: name another, or read paths by ingest.source=manifest"
        )
