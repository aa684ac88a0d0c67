"""The file of vectors, which `embed` writes and `search` reads.

`id` string, `vector` fixed_size_list<float32>[D]; the schema's metadata name the encoder and the images.
"""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from pipeline.inference.images.base import LONGEST_ID
from pipeline.runtime.errors import UserError
from pipeline.storage.checksums import checksummed_writer
from pipeline.untrusted.isolation.parquet import (
    Damaged,
    NotParquet,
    batches,
    json_in_metadata,
    parquet_headers,
)
from pipeline.untrusted.safe_paths import SafePath
from pipeline.untrusted.unsafe_path import MISSING

METADATA = b"clinfonce"
"""Key of the schema's metadata: a `Description` as JSON."""
ROWS_PER_TILE = 8192


class Description(TypedDict):
    encoder: dict[str, Any]
    """The `OpenedEncoder.identity` of the encoder that computed them."""
    encoder_folder: str
    source: dict[str, Any]
    """`Pictures.place` of the images."""
    fingerprint: str


def vectors_schema(dimension: int, description: Description) -> pa.Schema:
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dimension)),
        ],
        metadata={METADATA: json.dumps(description, sort_keys=True)},
    )


def vectors_table(ids: list[str], vectors_ND: NDArray[np.float32], schema: pa.Schema) -> pa.Table:
    values = pa.array(np.ascontiguousarray(vectors_ND).reshape(-1), pa.float32())
    vectors = pa.FixedSizeListArray.from_arrays(values, type=schema.field("vector").type)
    return pa.table([pa.array(ids, pa.string()), vectors], schema=schema)


def vectors_writer(path: Path, schema: pa.Schema) -> AbstractContextManager[pq.ParquetWriter]:
    """Returns a writer that stores the vectors uncompressed, since they neither compress nor repeat."""
    numbers = "vector.list.element"
    return checksummed_writer(
        path,
        schema,
        compression={"id": "zstd", numbers: "none"},
        use_dictionary=False,
        write_statistics=["id"],
    )


def is_of_embed(path: Path) -> bool:
    """Returns whether `clinfonce embed` wrote the file, according to its metadata."""
    try:
        (outline,) = parquet_headers([SafePath(path)])
    except NotParquet:
        return False
    return METADATA in (outline.schema.metadata or {})


@dataclass(frozen=True)
class Vectors:
    path: Path
    dimension: int
    description: Description

    @classmethod
    def open(cls, path: Path) -> "Vectors":
        """Reads the metadata. Raises `UserError` if `clinfonce embed` did not write the file."""
        try:
            (outline,) = parquet_headers([SafePath(path)])
        except NotParquet as error:
            if str(error) == MISSING:
                raise UserError(f"{path} does not exist: {_make_it(path)}") from None
            raise UserError(f"{path} can't be read ({error}): {_make_it(path)}") from None
        try:
            if not outline.checksummed:
                raise ValueError("no checksum")
            metadata = json_in_metadata(outline.schema, METADATA)
            description = TypeAdapter(Description).validate_python(metadata, strict=True)
            dimension = outline.schema.field("vector").type.list_size
            if not outline.schema.equals(vectors_schema(dimension, description)):
                raise ValueError("other columns")
        except (KeyError, ValueError, TypeError, AttributeError):
            raise UserError(f"{path} was not written by `clinfonce embed`: {_make_it(path)}") from None
        return cls(path, dimension, description)

    def tiles(self) -> Iterator[tuple[pa.Array, NDArray[np.float32]]]:
        """Yields the ids and vectors (T, D) of consecutive rows.

        Raises `UserError` if a row has no vector of finite numbers, or a longer id than `embed` writes.
        """
        types = vectors_schema(self.dimension, self.description).types
        for batch in batches(SafePath(self.path), ROWS_PER_TILE, ["id", "vector"]):
            if isinstance(batch, Damaged):
                raise UserError(f"{self.path} is damaged ({batch.why}): {_make_it(self.path)}")
            if batch.schema.types != types:
                raise UserError(f"{self.path} has changed since it was opened: type the same command again")
            ids = batch.column("id")
            if (pc.max(pc.utf8_length(ids)).as_py() or 0) > LONGEST_ID:
                raise UserError(
                    f"{self.path} holds ids of more than {LONGEST_ID:,} characters: {_make_it(self.path)}"
                )
            # Null vectors are left out.
            flat = batch.column("vector").flatten().to_numpy(zero_copy_only=False)
            if len(flat) != len(batch) * self.dimension or not np.isfinite(flat).all():
                raise UserError(
                    f"{self.path} holds vectors that are no finite numbers: make it anew, with another "
                    "encoder if they are again"
                )
            yield ids, flat.reshape(-1, self.dimension)


def _make_it(path: Path) -> str:
    return f"make it with `clinfonce embed SOURCE -o {path}`"
