"""Images in Parquet: what ingest wrote, or any table with encoded images, such as Hugging Face's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.borders import check_parquet
from pipeline.delimited import check_names
from pipeline.errors import UserError, fault_of_the_machine, first_line, listed
from pipeline.escaping import for_utf8
from pipeline.safe_paths import Root, SafePath, UnsafePath
from pipeline.schema import images_schema
from pipeline.sealed import has_seal
from pipeline.sources.apart import UNREADABLE, counted_rows
from pipeline.sources.base import Refusal
from pipeline.takeaway.pictures import Picture, state_of_file

CONVENTIONAL_IMAGE, CONVENTIONAL_ID = "image", "id"
IDS_AT_ONCE, IMAGES_AT_ONCE = 1024, 16
"""Rows. An image may have many megabytes, whatever the footer tells of them."""


def has_images(path: SafePath, image_column: str | None) -> bool:
    columns = image_columns(_schema(path))
    return bool(columns) if image_column is None else image_column in columns


def image_columns(schema: pa.Schema) -> list[str]:
    """Those that hold encoded images: a struct with `bytes`, or bytes under the conventional name."""
    return [field.name for field in schema if _holds_images(field)]


def _holds_images(field: pa.Field) -> bool:
    if pa.types.is_struct(field.type):
        return any(part.name == "bytes" and _is_binary(part.type) for part in field.type)
    return field.name == CONVENTIONAL_IMAGE and _is_binary(field.type)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


class NoImage(ValueError):
    """A row without one; the message says so."""


@dataclass(frozen=True)
class _Shard:
    file: SafePath
    image: str
    id: str | None
    stored: bool
    """Whether ingest made it."""
    rows: int


class PicturesInParquet:
    """An image's id is that of the column `id`, as text; without one its file and row, counted from 0."""

    def __init__(
        self,
        source: Path,
        root: Root,
        files: Sequence[SafePath],
        image_column: str | None,
        id_column: str | None,
    ) -> None:
        self._root = root
        self._shards = [_open_shard(path, image_column, id_column) for path in files]
        self.count = sum(shard.rows for shard in self._shards)
        self.place: dict[str, Any] = {
            "path": for_utf8(str(source.resolve())),
            "image_column": image_column,
            "id_column": id_column,
        }

    def state(self) -> list[Any]:
        columns = [[shard.image, shard.id] for shard in self._shards]
        return [*(state_of_file(shard.file) for shard in self._shards), *columns]

    def between(self, start: int, stop: int) -> Iterator[Picture | Refusal]:
        before = 0
        for shard in self._shards:
            first, last = max(0, start - before), min(shard.rows, stop - before)
            if first < last:
                yield from self._rows(shard, first, last)
            before += shard.rows

    def find(self, ids: Sequence[str]) -> Iterator[Picture]:
        wanted = set(ids)
        for shard in self._shards:
            places = [(number, name) for number, name in enumerate(self._ids(shard)) if name in wanted]
            for number, name in places:
                if name in wanted:
                    wanted.remove(name)
                    found = self._rows(shard, number, number + 1)
                    yield from (picture for picture in found if isinstance(picture, Picture))

    def _rows(self, shard: _Shard, start: int, stop: int) -> Iterator[Picture | Refusal]:
        names = [name for name in (shard.image, shard.id) if name is not None]
        folder = Root(shard.file.path.parent, self._root.within)
        for first, batch in _batches(shard.file, names, IMAGES_AT_ONCE, start, stop):
            images = _values(batch, shard.image, shard.file)
            keys = _values(batch, shard.id, shard.file) if shard.id else repeat(None, len(batch))
            for number, (image, key) in enumerate(zip(images, keys, strict=True), start=first):
                name = self._name(shard, number, key)
                try:
                    yield Picture(name, _image_in(image, folder), shard.stored)
                except NoImage as none:
                    yield Refusal(name, str(none))
                except UnsafePath as unsafe:
                    yield Refusal(name, unsafe.reason)

    def _ids(self, shard: _Shard) -> Iterator[str]:
        if shard.id is None:
            yield from (self._name(shard, number, None) for number in range(shard.rows))
            return
        for first, batch in _batches(shard.file, [shard.id], IDS_AT_ONCE, 0, shard.rows):
            for number, key in enumerate(_values(batch, shard.id, shard.file), start=first):
                yield self._name(shard, number, key)

    def _name(self, shard: _Shard, number: int, key: object) -> str:
        file = for_utf8(shard.file.path.relative_to(self._root.folder).as_posix())
        return f"{file}:{number}" if key is None else str(key)


def _open_shard(path: SafePath, image_column: str | None, id_column: str | None) -> _Shard:
    schema = _schema(path)
    candidates = image_columns(schema)
    for wanted, present in ((image_column, candidates), (id_column, schema.names)):
        if wanted is not None and wanted not in present:
            raise UserError(f"{path} has no such column {wanted}: name one of {listed(present)}")
    if image_column is None:
        if not candidates:
            raise UserError(f"{path} has no column of encoded images: its columns are {listed(schema.names)}")
        if len(candidates) > 1 and CONVENTIONAL_IMAGE not in candidates:
            raise UserError(
                f"{path} has several columns of images: choose with --image-column, {listed(candidates)}"
            )
        image_column = CONVENTIONAL_IMAGE if CONVENTIONAL_IMAGE in candidates else candidates[0]
    if id_column is None and CONVENTIONAL_ID in schema.names:
        id_column = CONVENTIONAL_ID
    check_names((name for name in schema.names if name in (image_column, id_column)), str(path))
    stored = schema.names == images_schema([]).names
    try:
        with path.pinned() as pinned:
            rows = counted_rows(pq.read_metadata(pinned))
    except UserError:
        raise
    except UNREADABLE as error:
        raise _unreadable(path, error) from None
    return _Shard(path, image_column, id_column, stored, rows)


def _values(batch: pa.RecordBatch, name: str, path: SafePath) -> Iterator[Any]:
    """One after the other: images are not all held by Arrow and by Python."""
    try:
        for value in batch.column(name):
            yield value.as_py()
    except MemoryError:
        raise
    except Exception as error:  # each type of Arrow raises its own
        raise UserError(
            f"{path} holds values in column {name} that can't be read ({first_line(error)}): choose another "
            "column, or write the table again without them"
        ) from None


def _image_in(cell: Any, folder: Root) -> bytes | SafePath:
    """Of a struct without bytes the file that its path names, from the table's folder on.

    Raises `NoImage`, and `UnsafePath` for a path that may not be read.
    """
    encoded, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if encoded and isinstance(encoded, bytes):
        return encoded
    if encoded or not path or not isinstance(path, str):
        raise NoImage("the row holds no image")
    return folder.file(path)


def _schema(path: SafePath) -> pa.Schema:
    try:
        with path.pinned() as pinned:
            if has_seal(pinned):
                check_parquet(pinned)
            return pq.read_schema(pinned)
    except UserError:
        raise
    except UNREADABLE as error:
        raise _unreadable(path, error) from None


def _batches(
    path: SafePath, columns: list[str], at_once: int, start: int, stop: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Rows `start` to `stop` in small batches, each with its first row's number; a row group is never whole
    in memory."""
    try:
        with path.pinned() as pinned, pq.ParquetFile(pinned, page_checksum_verification=True) as file:
            ends, end = [], 0
            for group in range(file.num_row_groups):
                end += file.metadata.row_group(group).num_rows
                ends.append(end)
            begins = [0, *ends[:-1]]
            groups = [g for g in range(len(ends)) if begins[g] < stop and ends[g] > start]
            number = begins[groups[0]] if groups else 0
            for batch in file.iter_batches(at_once, row_groups=groups, columns=columns):
                first, last = max(start - number, 0), min(stop - number, len(batch))
                if first < last:
                    yield number + first, batch.slice(first, last - first)
                number += len(batch)
        if number < stop:
            raise UserError(f"{path} has fewer rows than when it was opened: type the same command again")
    except UserError:
        raise
    except UNREADABLE as error:
        raise _unreadable(path, error) from None


def _unreadable(path: SafePath, error: Exception) -> Exception:
    if fault_of_the_machine(error):
        return error
    reason = str(error).partition("\n")[0]
    return UserError(f"{path} cannot be read as Parquet ({reason}): mend it, or leave it out")
