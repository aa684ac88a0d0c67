"""Source `manifest`: a table with one row an image, as CSV, TSV, JSON Lines or Parquet."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice, repeat
from typing import Self

from pipeline.delimited import (
    NOT_A_ROW,
    NotARow,
    check_names,
    csv_header,
    csv_records,
    delimiter_of,
    open_text,
    text_lines,
)
from pipeline.errors import UserError, listed
from pipeline.ingest.params import IngestParams
from pipeline.isolation.parquet import Damaged, NotParquet, Outline, outlines, records
from pipeline.safe_json import NotJson, parse_json
from pipeline.safe_paths import FOLDER, MISSING, Root, SafePath, UnsafePath
from pipeline.sources.base import Refusal, SourceRow
from pipeline.sources.columns import (
    Columns,
    Record,
    Table,
    is_unicode,
    names_of,
    resolve_columns,
    row_of,
    text,
)
from pipeline.sources.inside import source_root
from pipeline.sources.layout import named_path

ROWS_A_BATCH = 4096


Numbered = Iterator[tuple[str, Record | NotARow]]
"""Rows, each with the place where it stands."""


class ManifestSource:
    """Image paths are relative to the manifest's folder."""

    def __init__(self, manifest: SafePath, root: Root, columns: Columns, notes: list[str]) -> None:
        self._manifest = manifest
        self._root = root
        self._columns = columns
        self.attribute_names = columns.attributes
        self.notes = notes

    @classmethod
    def open(cls, params: IngestParams, _seed: int) -> Self:
        """Reads the manifest's header alone. Raises `UserError` if the file or a column is not there."""
        manifest = SafePath(named_path(params, "the manifest file"))
        _check_is_a_file(manifest)
        if _ending(manifest) not in READERS:
            raise UserError(
                f"the manifest {manifest} (ingest.path) must end in {listed(sorted(READERS))}: rename or "
                "convert it"
            )
        table = Table("the manifest has", f"the manifest {manifest}")
        columns, notes = resolve_columns(params.columns, _column_names(manifest), table)
        return cls(manifest, source_root(manifest.path.parent, params), columns, notes)

    def __length_hint__(self) -> int:
        if _ending(self._manifest) == ".parquet":
            return _outline(self._manifest).rows
        with self._manifest.open_binary() as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))

    def rows(self) -> Iterator[SourceRow | Refusal]:
        for where, record in _records(self._manifest):
            yield self._row(where, record)

    def _row(self, where: str, record: Record | NotARow) -> SourceRow | Refusal:
        if isinstance(record, NotARow):
            return Refusal(where, record.reason)
        path = text(record.get(self._columns.image))
        if path is None:
            return Refusal(where, f"the cell of column {self._columns.image!r} is empty")
        try:
            return row_of(record, self._columns, where, path, self._root.file(path))
        except UnsafePath as unsafe:
            return Refusal(where, unsafe.reason)


def _check_is_a_file(manifest: SafePath) -> None:
    try:
        manifest.open_binary().close()
    except UnsafePath as unsafe:
        what = {MISSING: "does not exist", FOLDER: "is a folder"}.get(unsafe.reason)
        raise UserError(
            f"the manifest {manifest} (ingest.path) {what or f'is not a file ({unsafe.reason})'}: set "
            "ingest.path to a CSV, TSV, JSON Lines or Parquet file"
        ) from None


def _ending(manifest: SafePath) -> str:
    return manifest.path.suffix.lower()


def _records(manifest: SafePath) -> Numbered:
    """Each row with the place where it stands."""
    return READERS[_ending(manifest)](manifest)


def _column_names(manifest: SafePath) -> list[str]:
    if _ending(manifest) == ".parquet":
        names = list(_outline(manifest).schema.names)
        check_names(names, f"the manifest {manifest}")
        return names
    # The columns of JSON Lines are the keys of its first rows; a CSV's records all have the same keys.
    names = names_of(record for _, record in islice(_records(manifest), 100) if isinstance(record, dict))
    if not names:
        raise UserError(f"the manifest {manifest} (ingest.path) holds no row: give it a header and rows")
    return names


def _read_delimited(manifest: SafePath, usual: str) -> Numbered:
    named = f"the manifest {manifest} (ingest.path)"
    delimiter = delimiter_of(manifest, usual, named)
    header = csv_header(manifest, named, delimiter)
    with open_text(manifest) as file:
        for line, record in csv_records(file, header, delimiter):
            yield f"{manifest.name} line {line}", _of_text(record)


def _read_csv(manifest: SafePath) -> Numbered:
    return _read_delimited(manifest, ",")


def _read_tsv(manifest: SafePath) -> Numbered:
    return _read_delimited(manifest, "\t")


def _read_json_lines(manifest: SafePath) -> Numbered:
    with open_text(manifest) as file:
        for number, line in text_lines(file):
            if isinstance(line, NotARow):
                yield f"{manifest.name} line {number}", line
            elif line.strip():
                yield f"{manifest.name} line {number}", _from_json(line)


def _from_json(line: str) -> Record | NotARow:
    try:
        record = parse_json(line)
    except NotJson as error:
        return NotARow(f"{NOT_A_ROW}: {error}")
    return _of_text(record) if isinstance(record, dict) else NotARow(NOT_A_ROW)


def _of_text(record: Record | NotARow) -> Record | NotARow:
    if isinstance(record, NotARow) or is_unicode(record):
        return record
    return NotARow("the line is not UTF-8 text")


def _read_parquet(manifest: SafePath) -> Numbered:
    rows = chain.from_iterable(map(_of_parquet, records(manifest, ROWS_A_BATCH)))
    for number, record in enumerate(rows, start=1):
        yield f"{manifest.name} row {number}", record


def _of_parquet(record: Record | Damaged) -> Iterable[Record | NotARow]:
    if isinstance(record, Damaged):
        return repeat(NotARow(f"this part of the file is damaged: {record.why}"), record.rows)
    return (record,)


def _outline(manifest: SafePath) -> Outline:
    try:
        return outlines([manifest])[0]
    except NotParquet as error:
        raise UserError(f"the manifest {manifest} (ingest.path) is not a Parquet file: {error}") from None


READERS = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}
