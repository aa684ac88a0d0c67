"""Source `manifest`: a table with one row an image, as CSV, TSV, JSON Lines or Parquet."""

import csv
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UserError, listed
from pipeline.files import users_path
from pipeline.ingest.params import CONVENTIONAL_COLUMNS, ColumnMap, IngestParams
from pipeline.sources.base import Refusal, SourceRow, Split

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NotARow:
    """What stands where a row should be, and why it is none."""

    reason: str


Numbered = Iterator[tuple[str, Record | NotARow]]
"""Rows, each with the place where it stands."""
SPLITS: dict[str, Split] = {"train": "train", "test": "test"}


@dataclass(frozen=True)
class Columns:
    """The column map with every name checked against the manifest's own columns."""

    image: str
    label: str | None
    split: str | None
    hashtags: str | None
    attributes: list[str]
    hierarchy: list[str]


class ManifestSource:
    """Image paths are relative to the manifest's folder."""

    def __init__(self, manifest: Path, columns: Columns, notes: list[str]) -> None:
        self._manifest = manifest
        self._columns = columns
        self.attribute_names = columns.attributes
        self.notes = notes

    @classmethod
    def open(cls, params: IngestParams, _seed: int) -> Self:
        """Reads the manifest's header alone. Raises `UserError` if the file or a column is not there."""
        assert params.path is not None, "the parameters' own check asks for a path"
        manifest = users_path(params.path)
        if not manifest.is_file():
            what = "is a folder" if manifest.is_dir() else "does not exist"
            raise UserError(
                f"the manifest {manifest} (ingest.path) {what}: set ingest.path to a CSV, TSV, JSON Lines or "
                "Parquet file"
            )
        if manifest.suffix.lower() not in READERS:
            raise UserError(
                f"the manifest {manifest} (ingest.path) must end in {listed(sorted(READERS))}: rename or "
                "convert it"
            )
        columns, notes = _resolve_columns(params.columns, _column_names(manifest), manifest)
        return cls(manifest, columns, notes)

    def rows(self) -> Iterator[SourceRow | Refusal]:
        seen: set[str] = set()
        for where, record in _records(self._manifest):
            row = self._row(where, record)
            if isinstance(row, SourceRow):
                if row.id in seen:
                    row = Refusal(where, f"the image {row.id} stands in an earlier row already")
                else:
                    seen.add(row.id)
            yield row

    def _row(self, where: str, record: Record | NotARow) -> SourceRow | Refusal:
        columns = self._columns
        if isinstance(record, NotARow):
            return Refusal(where, record.reason)
        path = _text(record.get(columns.image))
        if path is None:
            return Refusal(where, f"the cell of column {columns.image!r} is empty")
        split_name = _text(record.get(columns.split)) if columns.split else None
        if columns.split and split_name not in SPLITS:
            return Refusal(where, f"the split is {split_name!r}, and must be train or test")
        return SourceRow(
            id=path,
            image=self._manifest.parent / path,
            path=path,
            label=_text(record.get(columns.label)) if columns.label else None,
            split=SPLITS[split_name] if split_name else None,
            hashtags=split_hashtags(record.get(columns.hashtags)) if columns.hashtags else [],
            attributes={name: _text(record.get(name)) for name in columns.attributes},
            # What stands below a gap can't be placed.
            hierarchy=list(takewhile(bool, (_text(record.get(name)) or "" for name in columns.hierarchy))),
        )


def split_hashtags(cell: Any) -> list[str]:
    """A cell's hashtags: a list as it is; text is cut at `;`, else, if it starts with `#`, at spaces and
    commas, else at commas. A tag with spaces is one tag."""
    if cell is None:
        return []
    if isinstance(cell, list):
        parts = [_text(part) or "" for part in cell]
    else:
        text = str(cell).strip()
        separator = ";" if ";" in text else r"[\s,]+" if text.startswith("#") else ","
        parts = re.split(separator, text)
    return [part.strip() for part in parts if part.strip()]


def _text(cell: Any) -> str | None:
    """A cell as text; None for what is empty. 3.0 is "3": tables turn integers with gaps into floats."""
    if cell is None or cell != cell:
        return None
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip() or None


def _resolve_columns(wanted: ColumnMap, present: list[str], manifest: Path) -> tuple[Columns, list[str]]:
    notes: list[str] = []
    missing: list[str] = []

    def optional(role: str) -> str | None:
        name: str | None = getattr(wanted, role)
        if name is None or name in present:
            return name
        if name == CONVENTIONAL_COLUMNS[role]:
            notes.append(f"the manifest has no column {name!r}: its images have no {role}")
            return None
        missing.append(f"{name!r} (ingest.columns.{role})")
        return None

    if wanted.image not in present:
        missing.append(f"{wanted.image!r} (ingest.columns.image)")
    label, split, hashtags = optional("label"), optional("split"), optional("hashtags")
    for role in ("attributes", "hierarchy"):
        missing += [f"{n!r} (ingest.columns.{role})" for n in getattr(wanted, role) if n not in present]
    if missing:
        raise UserError(
            f"the manifest {manifest} has no column {' nor '.join(missing)}: name one of its columns, "
            f"{listed(present)}"
        )
    used = {wanted.image, label, split, hashtags, *wanted.hierarchy}
    attributes = wanted.attributes or [name for name in present if name not in used and not _is_index(name)]
    return Columns(wanted.image, label, split, hashtags, attributes, wanted.hierarchy), notes


def _is_index(name: str) -> bool:
    """Whether pandas wrote the column to number the rows."""
    return name == "" or name.startswith(("__index_level_", "Unnamed: "))


def _records(manifest: Path) -> Numbered:
    """Each row with the place where it stands."""
    return READERS[manifest.suffix.lower()](manifest)


def _column_names(manifest: Path) -> list[str]:
    suffix = manifest.suffix.lower()
    if suffix == ".parquet":
        names = list(_parquet_file(manifest).schema_arrow.names)
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise UserError(f"the manifest {manifest} has several columns {repeated[0]!r}: rename them")
        return names
    # The columns of JSON Lines are the keys of its first rows; a CSV's records all have the same keys.
    records = [record for _, record in islice(_records(manifest), 100) if isinstance(record, dict)]
    names = list(dict.fromkeys(chain.from_iterable(records)))
    if not names:
        raise UserError(f"the manifest {manifest} (ingest.path) holds no row: give it a header and rows")
    return names


def _read_delimited(manifest: Path, delimiter: str) -> Numbered:
    csv.field_size_limit(sys.maxsize)
    with manifest.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        for record in reader:
            # DictReader keeps the cells beyond the header under the key None.
            whole = None not in record and _is_unicode(record)
            yield f"{manifest.name} line {reader.line_num}", record if whole else _what_is_wrong(record)


def _read_csv(manifest: Path) -> Numbered:
    return _read_delimited(manifest, ",")


def _read_tsv(manifest: Path) -> Numbered:
    return _read_delimited(manifest, "\t")


def _read_json_lines(manifest: Path) -> Numbered:
    with manifest.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            whole = isinstance(record, dict) and _is_unicode(record)
            yield f"{manifest.name} line {number}", record if whole else _what_is_wrong(record)


def _is_unicode(record: Record) -> bool:
    """False where bytes that are not UTF-8 were read, or half a character was escaped."""
    try:
        json.dumps(record, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


def _what_is_wrong(record: object) -> NotARow:
    if isinstance(record, dict) and None not in record:
        return NotARow("the line is not UTF-8 text")
    return NotARow("the line is not a row of the table")


def _read_parquet(manifest: Path) -> Numbered:
    batches = _parquet_file(manifest).iter_batches(batch_size=4096)
    records = chain.from_iterable(batch.to_pylist() for batch in batches)
    try:
        for number, record in enumerate(records, start=1):
            whole = _is_unicode(record)
            yield f"{manifest.name} row {number}", record if whole else _what_is_wrong(record)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"the manifest {manifest} (ingest.path) is damaged: {error}") from None


def _parquet_file(manifest: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(manifest)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"the manifest {manifest} (ingest.path) is not a Parquet file: {error}") from None


READERS = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}
