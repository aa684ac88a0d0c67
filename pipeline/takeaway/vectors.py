"""The file of vectors: what `embed` writes and `search` reads.

`id` string, `vector` fixed_size_list<float32>[D]; the schema's metadata say which encoder made them of what.
"""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from pipeline.errors import UserError, fault_of_the_machine
from pipeline.safe_json import parse_json
from pipeline.safe_paths import MISSING, SafePath, UnsafePath
from pipeline.sealed import is_unbroken, sealed_writer

METADATA = b"clinfonce"
"""Key of the schema's metadata: a `Description` as JSON."""
ROWS_A_TILE = 8192


class Description(TypedDict):
    encoder: dict[str, Any]
    """The `OpenedEncoder.identity` of what made them."""
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
    """Numbers of this kind neither compress nor repeat."""
    numbers = "vector.list.element"
    return sealed_writer(
        path,
        schema,
        compression={"id": "zstd", numbers: "none"},
        use_dictionary=False,
        write_statistics=["id"],
    )


@dataclass(frozen=True)
class Vectors:
    path: Path
    dimension: int
    description: Description

    @classmethod
    def open(cls, path: Path) -> "Vectors":
        """Raises `UserError` where `clinfonce embed` did not make the file."""
        with _reading(path) as pinned:
            if not is_unbroken(pinned):
                raise ValueError("its bytes are not those that were written")
            schema = pq.read_schema(pinned)
            metadata = parse_json((schema.metadata or {})[METADATA])
            description = TypeAdapter(Description).validate_python(metadata, strict=True)
            dimension = schema.field("vector").type.list_size
            if not schema.equals(vectors_schema(dimension, description)):
                raise ValueError("its columns are others")
            return cls(path, dimension, description)

    def tiles(self) -> Iterator[tuple[pa.Array, NDArray[np.float32]]]:
        """The ids and vectors (T, D) of some rows after the other.

        Raises `UserError` where a row has no vector of numbers.
        """
        with _reading(self.path) as pinned, pq.ParquetFile(pinned) as file:
            for batch in file.iter_batches(ROWS_A_TILE, columns=["id", "vector"]):
                batch.validate(full=True)
                # Without those that are null.
                flat = batch.column("vector").flatten().to_numpy(zero_copy_only=False)
                if len(flat) != len(batch) * self.dimension or not np.isfinite(flat).all():
                    raise UserError(
                        f"{self.path} holds vectors that are no finite numbers: make it anew, with another "
                        "encoder if they are again"
                    )
                yield batch.column("id"), flat.reshape(-1, self.dimension)


@contextmanager
def _reading(path: Path) -> Iterator[Path]:
    """What goes wrong in the block is reported as what is wrong with the file, unless it is the machine's."""
    try:
        with SafePath(path).pinned() as pinned:
            yield pinned
    except UnsafePath as unsafe:
        what = "does not exist" if unsafe.reason == MISSING else f"can't be read ({unsafe.reason})"
        raise UserError(f"{path} {what}: make it with `clinfonce embed SOURCE -o {path}`") from None
    except UserError:
        raise
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        if fault_of_the_machine(error):
            raise
        raise UserError(f"{path} is none that `clinfonce embed` wrote, or is damaged: make it anew") from None
