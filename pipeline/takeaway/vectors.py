"""The file of vectors: what `embed` writes and `search` reads.

`id` string, `vector` fixed_size_list<float32>[D]; the schema's metadata say which encoder made them of what.
"""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import UserError, fault_of_the_machine
from pipeline.safe_json import parse_json
from pipeline.safe_paths import MISSING, SafePath, UnsafePath
from pipeline.sealed import is_unbroken, sealed_writer

METADATA = b"clinfonce"
"""Key in the schema's metadata: `encoder`, `encoder_folder`, `source` and `fingerprint`, as JSON."""
ROWS_A_TILE = 8192


def vectors_schema(dimension: int, description: dict[str, Any]) -> pa.Schema:
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
    count: int
    encoder: dict[str, Any]
    """The `OpenedEncoder.identity` of what made them."""
    encoder_folder: str
    source: dict[str, Any]
    """`Pictures.place` of the images."""
    fingerprint: str

    @classmethod
    def open(cls, path: Path) -> "Vectors":
        """Raises `UserError` where `clinfonce embed` did not make the file."""
        try:
            with SafePath(path).pinned() as pinned:
                if not is_unbroken(pinned):
                    raise ValueError("its bytes are not those that were written")
                schema, rows = pq.read_schema(pinned), pq.read_metadata(pinned).num_rows
            told = parse_json((schema.metadata or {})[METADATA])
            dimension = schema.field("vector").type.list_size
            keys = ("encoder", "encoder_folder", "source", "fingerprint")
            return cls(path, dimension, rows, *(told[key] for key in keys))
        except UnsafePath as unsafe:
            what = "does not exist" if unsafe.reason == MISSING else f"can't be read ({unsafe.reason})"
            raise UserError(f"{path} {what}: make it with `clinfonce embed SOURCE -o {path}`") from None
        except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
            if fault_of_the_machine(error):
                raise
            raise UserError(
                f"{path} is none that `clinfonce embed` wrote, or is damaged: make it anew"
            ) from None

    def tiles(self) -> Iterator[tuple[pa.Array, NDArray[np.float32]]]:
        """The ids and vectors (T, D) of some rows after the other."""
        with SafePath(self.path).pinned() as pinned, pq.ParquetFile(pinned) as file:
            for batch in file.iter_batches(ROWS_A_TILE, columns=["id", "vector"]):
                flat = batch.column("vector").flatten().to_numpy(zero_copy_only=False)
                yield batch.column("id"), flat.reshape(-1, self.dimension)
