"""Source `manifest`: a table with one row per image, as CSV, TSV, JSON or Parquet."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Self

from pipeline.config.ingest import IngestParams
from pipeline.runtime.errors import UserError
from pipeline.sources.base import Refusal, SourceRow
from pipeline.sources.reading.columns import Columns, TableDescription, path_in, resolve_columns, row_of
from pipeline.sources.reading.expected_files import named_path
from pipeline.sources.reading.source_root import named_file, source_root
from pipeline.tables import reading
from pipeline.tables.lines import NotARow
from pipeline.tables.records import Record
from pipeline.untrusted.safe_paths import Root, SafePath
from pipeline.untrusted.unsafe_path import FOLDER, MISSING, UnsafePath


class ManifestSource:
    """Image paths are relative to the manifest's folder."""

    def __init__(
        self, manifest: SafePath, root: Root, table: reading.TableFile, columns: Columns, notes: list[str]
    ) -> None:
        self._manifest = manifest
        self._root = root
        self._table = table
        self._columns = columns
        self._notes = notes
        self.attribute_names = columns.attributes

    @property
    def notes(self) -> list[str]:
        return self._notes + self._columns.notes()

    @classmethod
    def open(cls, params: IngestParams, _seed: int) -> Self:
        """Reads the header, or all keys of JSON. Raises `UserError` if the file or a column is missing."""
        manifest = SafePath(named_path(params, "the manifest file"))
        _check_is_a_file(manifest)
        named = f"the manifest {manifest} (ingest.path)"
        table = reading.open_table_file(manifest, named)
        if not table.columns:
            raise UserError(f"{named} holds no row: give it a header and rows")
        where = TableDescription("the manifest has", f"the manifest {manifest}")
        columns, notes = resolve_columns(params.columns, table.columns, where, no_values=table.no_values)
        root = source_root(manifest.path.parent, params)
        return cls(manifest, root, table, columns, table.notes + notes)

    def __length_hint__(self) -> int:
        if self._table.count is not None:
            return self._table.count
        with self._manifest.open_binary() as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))

    def rows(self) -> Iterator[SourceRow | Refusal]:
        self._columns.notices.clear()
        used = self._columns.used()
        for where, record in self._table.rows([name for name in self._table.columns if name in used]):
            yield self._row(where, record)

    def _row(self, where: str, record: Record | NotARow) -> SourceRow | Refusal:
        if isinstance(record, NotARow):
            return Refusal(where, record.reason)
        written = path_in(record, self._columns)
        if isinstance(written, Refusal):
            return replace(written, where=where)
        try:
            path, file = named_file(self._root, written, self._columns.notices)
        except UnsafePath as unsafe:
            return Refusal(where, unsafe.reason)
        return row_of(record, self._columns, where, path, file)


def _check_is_a_file(manifest: SafePath) -> None:
    try:
        manifest.open_binary().close()
    except UnsafePath as unsafe:
        what = {MISSING: "does not exist", FOLDER: "is a folder"}.get(unsafe.reason)
        raise UserError(
            f"the manifest {manifest} (ingest.path) {what or f'is not a file ({unsafe.reason})'}: set "
            "ingest.path to a CSV, TSV, JSON or Parquet file"
        ) from None
