"""Images in Parquet: those that ingest wrote, or any table with encoded images, such as Hugging Face's."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, groupby, repeat
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.inference.images.base import LONGEST_ID, InputImage, state_of_file
from pipeline.runtime.errors import UserError, first_line, listed, shown
from pipeline.runtime.sanitize import for_utf8
from pipeline.sources.base import Refusal
from pipeline.storage.schema import images_schema
from pipeline.tables.delimited import check_names
from pipeline.untrusted.isolation.parquet import Damaged, NotParquet, ParquetHeader, batches, parquet_headers
from pipeline.untrusted.safe_paths import Root, SafePath
from pipeline.untrusted.unsafe_path import UnsafePath

CONVENTIONAL_IMAGE, CONVENTIONAL_ID = "image", "id"
IMAGES_PER_BYTE = 10
"""Maximum for a table of images: even one repeated image takes about one bit per row."""
IDS_AT_ONCE, IMAGES_AT_ONCE = 1024, 16
"""Rows per batch. An image may have many megabytes, whatever the footer says."""
COMPARED_IDS = 1000
"""Maximum number of repeated ids that are compared letter by letter, of up to `LONGEST_ID` each."""


def open_tables(paths: Sequence[SafePath]) -> dict[SafePath, ParquetHeader]:
    """Returns the header of each file. Raises `UserError` for a file that can't be read."""
    try:
        return dict(zip(paths, parquet_headers(paths), strict=True))
    except NotParquet as error:
        raise _unreadable(error.path, str(error)) from None


def has_images(outline: ParquetHeader, image_column: str | None) -> bool:
    columns = image_columns(outline.schema)
    return bool(columns) if image_column is None else image_column in columns


def image_columns(schema: pa.Schema) -> list[str]:
    """Returns the columns of encoded images: structs with `bytes`, or bytes under the conventional name."""
    return [field.name for field in schema if _holds_images(field)]


def _holds_images(field: pa.Field) -> bool:
    if pa.types.is_struct(field.type):
        return any(part.name == "bytes" and _is_binary(part.type) for part in field.type)
    return field.name == CONVENTIONAL_IMAGE and _is_binary(field.type)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


class NoImage(ValueError):
    """Raised for a row without an image; the message says so."""


@dataclass(frozen=True)
class _Shard:
    file: SafePath
    image: str
    id: str | None
    stored: bool
    """Whether ingest wrote it."""
    rows: int


class PicturesInParquet:
    """The images of Parquet files. An image's id is its cell in the id column, as text; without such a
    column, its file and row, counted from 0."""

    def __init__(
        self,
        source: Path,
        root: Root,
        files: Mapping[SafePath, ParquetHeader],
        image_column: str | None,
        id_column: str | None,
    ) -> None:
        self._source, self._root = source, root
        self._shards = [_shard(*file, image_column, id_column) for file in files.items()]
        self.count = sum(shard.rows for shard in self._shards)
        self.notes: list[str] = []
        self.place: dict[str, Any] = {
            "path": for_utf8(str(source.resolve())),
            "image_column": image_column,
            "id_column": id_column,
        }

    def state(self) -> list[Any]:
        columns = [[shard.image, shard.id] for shard in self._shards]
        return [*(state_of_file(shard.file) for shard in self._shards), *columns]

    def between(self, start: int, stop: int) -> Iterator[InputImage | Refusal]:
        before = 0
        for shard in self._shards:
            first, last = max(0, start - before), min(shard.rows, stop - before)
            if first < last:
                yield from self._rows(shard, [(first, last)])
            before += shard.rows

    def check_ids(self) -> None:
        columns = sorted({shard.id for shard in self._shards if shard.id is not None})
        if not columns:
            return
        # Hashes first, since all ids may be too many to hold.
        hashes, counts = np.unique(np.fromiter(map(hash, self._all_ids()), np.int64), return_counts=True)
        repeated = hashes[counts > 1]
        if (name := self._repeated_id(set(repeated[:COMPARED_IDS].tolist()))) is not None:
            raise UserError(
                f"{self._source} repeats {len(repeated):,} ids in column {listed(columns)}, such as "
                f"{shown(name)}: name a column of unique ids with --id-column, or add one"
            )

    def _repeated_id(self, hashes: set[int]) -> str | None:
        """Returns an id that two images have, among those with one of `hashes`, or None."""
        seen: set[str] = set()
        if hashes:
            for name in self._all_ids():
                if hash(name) in hashes:
                    if name in seen:
                        return name
                    seen.add(name)
        return None

    def find(self, ids: Sequence[str]) -> Iterator[InputImage]:
        requested = set(ids)
        place_of: dict[str, tuple[int, int] | None] = {}
        for place, shard in enumerate(self._shards):
            for number, name in enumerate(self._ids(shard)):
                if name in requested:
                    place_of[name] = None if name in place_of else (place, number)
        found = sorted(place for place in place_of.values() if place is not None)
        for place, group in groupby(found, itemgetter(0)):
            rows = self._rows(self._shards[place], [(number, number + 1) for _, number in group])
            yield from (picture for picture in rows if isinstance(picture, InputImage))

    def _rows(self, shard: _Shard, spans: list[tuple[int, int]]) -> Iterator[InputImage | Refusal]:
        names = [name for name in (shard.image, shard.id) if name is not None]
        folder = Root(shard.file.path.parent, self._root.within)
        numbers = chain.from_iterable(range(*span) for span in spans)
        for batch in _batches(shard.file, names, IMAGES_AT_ONCE, spans):
            images = _values(batch, shard.image, shard.file)
            keys = _values(batch, shard.id, shard.file) if shard.id else repeat(None, len(batch))
            for image, key in zip(images, keys, strict=True):
                number = next(numbers)
                name = self._name(shard, number, key)
                try:
                    yield InputImage(name, _image_in(image, folder), shard.stored)
                except NoImage as none:
                    yield Refusal(name, str(none))
                except UnsafePath as unsafe:
                    yield Refusal(name, unsafe.reason)

    def _all_ids(self) -> Iterator[str]:
        return chain.from_iterable(map(self._ids, self._shards))

    def _ids(self, shard: _Shard) -> Iterator[str]:
        if shard.id is None:
            yield from (self._name(shard, number, None) for number in range(shard.rows))
            return
        numbers = count()
        for batch in _batches(shard.file, [shard.id], IDS_AT_ONCE, [(0, shard.rows)]):
            for key in _values(batch, shard.id, shard.file):
                yield self._name(shard, next(numbers), key)

    def _name(self, shard: _Shard, number: int, key: object) -> str:
        file = for_utf8(shard.file.path.relative_to(self._root.folder).as_posix())
        name = f"{file}:{number}" if key is None else str(key)
        if len(name) > LONGEST_ID:
            raise UserError(
                f"{shard.file} holds ids of more than {LONGEST_ID:,} characters in column {shard.id}: name "
                "another one with --id-column"
            )
        return name


def _shard(path: SafePath, outline: ParquetHeader, image_column: str | None, id_column: str | None) -> _Shard:
    schema = outline.schema
    candidates = image_columns(schema)
    for requested, present in ((image_column, candidates), (id_column, schema.names)):
        if requested is not None and requested not in present:
            raise UserError(f"{path} has no such column {shown(requested)}: name one of {listed(present)}")
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
    if id_column is not None and pa.types.is_nested(schema.field(id_column).type):
        raise UserError(
            f"{path} has lists or structs in its column {id_column}: name one of ids by --id-column"
        )
    _check_rows(path, outline.rows)
    check_names((name for name in schema.names if name in (image_column, id_column)), str(path))
    stored = schema.names in (images_schema([]).names, images_schema([], with_text=True).names)
    return _Shard(path, image_column, id_column, stored, outline.rows)


def _check_rows(path: SafePath, rows: int) -> None:
    status = path.status()
    if status is not None and rows > IMAGES_PER_BYTE * status.st_size:
        raise UserError(f"{path} claims {rows:,} images in {status.st_size:,} bytes: write it again")


def _values(batch: pa.RecordBatch, name: str, path: SafePath) -> Iterator[Any]:
    """Yields one value at a time, so that Arrow and Python do not both hold all images."""
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
    """Returns the bytes of an image; for a struct without bytes, the file of its path in the table's folder.

    Raises `NoImage`, and `UnsafePath` for a path that may not be read.
    """
    encoded, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if encoded and isinstance(encoded, bytes):
        return encoded
    if encoded or not path or not isinstance(path, str):
        raise NoImage("the row holds no image")
    return folder.file(path)


def _batches(
    path: SafePath, columns: list[str], at_once: int, spans: list[tuple[int, int]]
) -> Iterator[pa.RecordBatch]:
    """Yields all rows of `spans`, in small batches. Raises `UserError` if some can't be read."""
    rows = 0
    for batch in batches(path, at_once, columns, spans):
        if isinstance(batch, Damaged):
            raise _unreadable(path, batch.why)
        yield batch
        rows += len(batch)
    if rows < sum(stop - start for start, stop in spans):
        raise UserError(f"{path} has fewer rows than when it was opened: type the same command again")


def _unreadable(path: SafePath, why: str) -> UserError:
    return UserError(f"{path} cannot be read as Parquet ({why}): fix it, or leave it out")
