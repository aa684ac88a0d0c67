"""Files of chunks: prepared rows on disk, in the folder of unfinished work."""

import hashlib
import json
import os
import shutil
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.executors.workers import worker_count
from pipeline.ingest.perceptual_hash import THUMBNAIL_BYTES
from pipeline.sources.base import Refusal
from pipeline.storage.files import STATE_VARIABLE, check_utf8, state_root
from pipeline.storage.locks import make_state_folder, open_lock, try_lock

SUFFIX = ".arrow"
REFUSALS = b"refusals"
"""Key of the refusals in the schema's metadata: where and why, as JSON."""

FACTS = [
    pa.field("content", pa.binary(16)),
    pa.field("split", pa.int8()),
    pa.field("passed", pa.bool_()),
    pa.field("sums", pa.list_(pa.float64(), 6)),
    pa.field("scaled", pa.list_(pa.float64(), 3)),
    pa.field("further_frames", pa.bool_()),
    pa.field("single_color", pa.int32()),
    pa.field("hash", pa.uint64()),
    pa.field("thumbnail", pa.binary(THUMBNAIL_BYTES)),
]
"""Facts about an image besides what is stored: columns after those of the images' schema."""
SPLIT_CODES = {"train": 0, "test": 1, "validation": 2, None: -1}


def write_chunk(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def read_chunk(path: Path) -> pa.Table:
    """Reads a chunk by mapping the file, without reading the images."""
    with pa.memory_map(str(path)) as mapped:
        return pa.ipc.open_file(mapped).read_all()


def refusals_of(part: pa.Table) -> list[Refusal]:
    return [Refusal(where, reason) for where, reason in json.loads(part.schema.metadata[REFUSALS])]


def rows_of(part: pa.Table) -> int:
    """Returns the number of rows, accepted and refused."""
    return len(part) + len(refusals_of(part))


def is_whole(path: Path) -> bool:
    try:
        refusals_of(read_chunk(path))
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return False
    return True


class Chunks:
    """The chunks of a run, one after the other, with their rows numbered consecutively."""

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self._starts = [0]

    def append(self, path: Path, rows: int) -> None:
        self._paths.append(path)
        self._starts.append(self._starts[-1] + rows)

    def between(self, start: int, stop: int) -> Iterator[tuple[int, pa.Table]]:
        """Yields what each chunk holds of the rows `start` to `stop`, with the number of its first row."""
        for number in range(bisect_right(self._starts, start) - 1, len(self._paths)):
            first, end = (min(max(row, start), stop) for row in self._starts[number : number + 2])
            if first == stop:
                break
            yield first, read_chunk(self._paths[number]).slice(first - self._starts[number], end - first)

    def all(self) -> Iterator[tuple[int, pa.Table]]:
        return self.between(0, self._starts[-1])


@contextmanager
def chunk_folder(choices: str) -> Iterator[Path]:
    """Yields a folder for the chunks of a run with these choices; removes it if the block succeeds.

    A second process with the same choices at the same time gets a folder of its own.
    """
    check_utf8(
        state_root(),
        "the folder of unfinished work",
        f"set {STATE_VARIABLE} to another one, or move the project",
    )
    name = f"ingest-{hashlib.sha256(choices.encode()).hexdigest()[:16]}"
    with ExitStack() as held:
        for folder in (state_root() / name, state_root() / f"{name}-{os.getpid()}"):
            make_state_folder(folder)
            if try_lock(held.enter_context(open_lock(folder / "lock"))):
                break
        for left_by_a_killed_process in folder.glob(f".*{SUFFIX}.*.tmp"):
            left_by_a_killed_process.unlink()
        yield folder
        # In threads, since deleting a file takes as long as the system needs to free its cached pages.
        with ThreadPoolExecutor(worker_count()) as threads:
            for part in folder.glob(f"*{SUFFIX}"):
                threads.submit(part.unlink)
        shutil.rmtree(folder, ignore_errors=True)


def fixed_bytes(column: pa.ChunkedArray, width: int) -> NDArray[np.uint8]:
    """Returns a column of binaries of `width` bytes, without nulls, as (N, width)."""
    chunks = [
        np.frombuffer(chunk.buffers()[1], np.uint8).reshape(-1, width)[
            chunk.offset : chunk.offset + len(chunk)
        ]
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(chunks) if chunks else np.empty((0, width), np.uint8)
