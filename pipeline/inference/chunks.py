"""An unfinished embedding on the disk, so that a killed run goes on where it was.

Beside the output lies `<output>.parts/<fingerprint>/` with a file for every few thousand images. The
fingerprint covers all that decides the vectors: another encoder or changed images mean another folder, and
never a stale resume. A finished embedding removes all of them.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.inference.vectors import vectors_table
from pipeline.runtime.errors import UserError
from pipeline.sources.base import Refusal
from pipeline.storage.files import write_atomically

IMAGES_PER_CHUNK = 4096
REFUSED = b"refused"
FINGERPRINT = re.compile(r"[0-9a-f]{16}")


def write_chunk(
    path: Path, ids: list[str], vectors_ND: NDArray[np.float32], refusals: list[Refusal], schema: pa.Schema
) -> None:
    refused = json.dumps([[refusal.where, refusal.reason] for refusal in refusals])
    table = vectors_table(ids, vectors_ND, schema).replace_schema_metadata({REFUSED: refused})
    write_atomically(path, lambda temporary: pq.write_table(table, temporary))


class Chunks:
    def __init__(self, output: Path, fingerprint: str, count: int, schema: pa.Schema) -> None:
        """Raises `UserError` for a link in place of the folder, as may lie among a stranger's images."""
        self._root = output.with_name(f"{output.name}.parts")
        if self._root.is_symlink():
            raise UserError(f"{self._root} is a link, and must be a folder for unfinished work: remove it")
        self._folder = self._root / fingerprint
        self._schema = schema
        self.ranges = [
            (start, min(start + IMAGES_PER_CHUNK, count)) for start in range(0, count, IMAGES_PER_CHUNK)
        ]
        self.lock = self._root / "lock"

    def path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.parquet"

    def missing(self) -> list[int]:
        """Numbers of the parts that are still to be made, in order."""
        return [number for number in range(len(self.ranges)) if not self._is_whole(number)]

    def tables(self) -> Iterator[pa.Table]:
        for number in range(len(self.ranges)):
            table = pq.read_table(self.path(number), schema=self._schema.remove_metadata())
            yield table.replace_schema_metadata(self._schema.metadata)

    def refusals(self) -> Iterator[Refusal]:
        for number in range(len(self.ranges)):
            for where, reason in self._refused(number):
                yield Refusal(where, reason)

    def rows(self) -> int:
        return sum(pq.read_metadata(self.path(number)).num_rows for number in range(len(self.ranges)))

    def discard(self) -> None:
        """Removes what embeddings wrote; files that someone else put there stay."""
        for folder in self._root.glob("*"):
            if FINGERPRINT.fullmatch(folder.name) and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)
        self.lock.unlink(missing_ok=True)
        with suppress(OSError):
            self._root.rmdir()

    def _refused(self, number: int) -> list[tuple[str, str]]:
        refused: list[tuple[str, str]] = json.loads(pq.read_schema(self.path(number)).metadata[REFUSED])
        return refused

    def _is_whole(self, number: int) -> bool:
        start, stop = self.ranges[number]
        try:
            rows = pq.read_metadata(self.path(number)).num_rows
            return bool(rows + len(self._refused(number)) == stop - start)
        except (FileNotFoundError, pa.ArrowException, KeyError, TypeError, ValueError):
            return False
