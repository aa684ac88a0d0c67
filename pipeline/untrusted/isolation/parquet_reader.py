"""The process that reads untrusted Parquet files, one request per process.

It reads the request from standard input, as JSON, and writes an Arrow stream to standard output: with
`outlines` the content of the footers, with `batches` the rows of a file. `parquet` starts it.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.runtime.errors import first_line
from pipeline.storage.checksums import has_checksum, is_unbroken
from pipeline.untrusted.isolation.plain_types import plain_schema, size_in_python
from pipeline.untrusted.safe_paths import Boundary, SafePath
from pipeline.untrusted.unsafe_path import UnsafePath

OUTLINE = pa.schema(
    [("schema", pa.binary()), ("rows", pa.int64()), ("has_checksum", pa.bool_()), ("mistake", pa.string())]
)
MISTAKE, ROWS = b"mistake", b"rows"
"""Metadata of an empty batch that replaces rows that can't be read; all rows if their number is missing."""
EMPTY = pa.RecordBatch.from_pylist([], pa.schema([]))
STDIN = 0
ROWS_PER_BYTE = 100_000
"""Maximum for a file: rows that repeat one value take almost no space, but a footer can claim any number."""
BUFFER_BYTES, LEAST_BUFFER = 64 << 20, 16 << 10
"""Size of the read buffers of all columns together, and the minimum for each of many columns."""
MOST_OF_SCHEMA = 32 << 20
"""Maximum bytes of a schema with its metadata, which the calling process holds. A column takes about fifty, a
class name about thirty."""
UNREADABLE = (pa.ArrowException, OSError, ValueError)


@dataclass(frozen=True)
class Damaged:
    """A number of rows that can't be read, and the reason. The number is at most that of the file's bytes,
    since a footer may claim any."""

    rows: int
    why: str


def main() -> None:
    # The calling process handles Ctrl+C, and ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = json.loads(_request())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threading.Thread(target=_end_when_too_large, args=[request["most"]], daemon=True).start()
    if "outlines" in request:
        _send_outlines([_from_json(path) for path in request["outlines"]])
    else:
        _send_batches(_from_json(request["batches"]), request)


def _request() -> bytes:
    """Reads one line, without `sys.stdin`, whose lock the waiting thread would hold."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(STDIN, 1 << 16)
        if not more:
            raise SystemExit(1)
        line += more
    return line


def _end_with_parent() -> None:
    """Ends this process at the end of standard input.

    Symptom: ingest was killed, and a reader remained that waited for a hanging disk. Cause: only a process
    that writes notices that its parent is gone. Cure: a thread waits for the end of standard input.
    """
    while os.read(STDIN, 1):
        pass
    os._exit(1)


def _from_json(path: dict[str, Any]) -> SafePath:
    return SafePath(Path(path["path"]), path["within"] and Boundary(**path["within"]))


def _end_when_too_large(most: int) -> None:
    """Kills this process when it needs `most` bytes, since Arrow has no memory limit. Runs in a thread, for
    Arrow lets other threads run while it reads."""
    while max(pa.total_allocated_bytes(), _own_bytes()) < most:
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)


def _own_bytes() -> int:
    """Returns the memory of this process that is not shared with files: Arrow does not count the memory in
    which it decodes a footer."""
    try:
        _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_bytes().split())
    except OSError:
        return 0  # not Linux
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def _send_outlines(paths: list[SafePath]) -> None:
    with pa.ipc.new_stream(sys.stdout.buffer, OUTLINE) as stream:
        for path in paths:
            record = {"schema": b"", "rows": 0, "has_checksum": False, "mistake": None}
            try:
                with path.pinned() as pinned:
                    record["has_checksum"] = has_checksum(pinned)
                    if record["has_checksum"] and not is_unbroken(pinned):
                        raise ValueError("its bytes are not those that were written")
                    with pq.ParquetFile(pinned) as file:
                        plain_schema(file.schema_arrow)
                        record["schema"] = _serialized(file.schema_arrow).to_pybytes()
                        record["rows"] = _counted_rows(file.metadata, pinned.stat().st_size)
            except UnsafePath as unsafe:
                record["mistake"] = unsafe.reason
            except UNREADABLE as error:
                record["mistake"] = first_line(error)
            stream.write_batch(pa.RecordBatch.from_pylist([record], OUTLINE))
            # Flushed so that the caller knows which of them crashes this process.
            sys.stdout.buffer.flush()


def _serialized(schema: pa.Schema) -> pa.Buffer:
    """Serializes a schema. Raises `ValueError` for one that is too large to be sent."""
    serialized = schema.serialize()
    if serialized.size > MOST_OF_SCHEMA:
        raise ValueError(f"its columns and metadata take more than {MOST_OF_SCHEMA >> 20} MiB")
    return serialized


def _counted_rows(footer: pq.FileMetaData, file_bytes: int) -> int:
    """Returns the number of rows. Raises `ValueError` for a footer that contradicts itself or the file's
    size."""
    groups = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
    if min(groups, default=0) < 0 or sum(groups) != footer.num_rows:
        raise ValueError("its footer counts its rows wrongly")
    if footer.num_rows > ROWS_PER_BYTE * file_bytes:
        raise ValueError(
            f"its footer claims {footer.num_rows:,} rows, more than {file_bytes:,} bytes can hold"
        )
    return int(footer.num_rows)


def _send_batches(path: SafePath, request: dict[str, Any]) -> None:
    """Sends one row group at a time, so that damage in one does not affect the others."""
    try:
        with path.pinned() as pinned:
            footer = pq.read_metadata(pinned)
            # Pages are read when they are needed, so that a larger row group takes no more memory.
            file = pq.ParquetFile(
                pinned,
                metadata=footer,
                buffer_size=max(LEAST_BUFFER, BUFFER_BYTES // max(1, footer.num_columns)),
                pre_buffer=False,
                page_checksum_verification=True,
            )
        of_file, columns = file.schema_arrow, request["columns"]
        requested = set(of_file.names if columns is None else columns)  # a set, as there may be 100,000
        chosen = pa.schema([field for field in of_file if field.name in requested], of_file.metadata)
        if columns is not None and sorted(chosen.names) != sorted(requested):
            raise ValueError("its columns are others than when it was opened")
        _serialized(chosen)
        schema = plain_schema(chosen, keep_dictionaries=request["keep_dictionaries"])
    except UNREADABLE as error:
        why = error.reason if isinstance(error, UnsafePath) else first_line(error)
        with pa.ipc.new_stream(sys.stdout.buffer, EMPTY.schema) as stream:
            stream.write_batch(EMPTY, custom_metadata={MISTAKE: why.encode()})
        return
    reading = _Reading(
        file, request["rows"], None if columns is None else schema.names, schema, request["at_once"]
    )
    with file, pa.ipc.new_stream(sys.stdout.buffer, schema) as stream:
        first = 0
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            stretches = _stretches(request["spans"], first, count)
            left = sum(stop - start for start, stop in stretches)
            for batch in reading.batches(group, stretches) if left else ():
                if isinstance(batch, Damaged):
                    rows_lost = min(batch.rows, left)
                    damaged = {MISTAKE: batch.why.encode(), ROWS: str(rows_lost).encode()}
                    stream.write_batch(pa.RecordBatch.from_pylist([], schema), custom_metadata=damaged)
                    left -= rows_lost
                else:
                    stream.write_batch(batch.replace_schema_metadata(of_file.metadata))
                    left -= len(batch)
            first += count


def _stretches(spans: list[tuple[int, int]] | None, first: int, count: int) -> list[tuple[int, int]]:
    """Returns the parts of `spans` in a group of `count` rows that begins at row `first`, counted from
    there."""
    if spans is None:
        return [(0, count)]
    inside = [(max(start - first, 0), min(stop - first, count)) for start, stop in spans]
    return [(start, stop) for start, stop in inside if start < stop]


@dataclass(frozen=True)
class _Reading:
    file: pq.ParquetFile
    rows: int
    names: list[str] | None
    """None: all columns."""
    schema: pa.Schema
    """The plain schema of the batches."""
    at_once: int

    def batches(self, group: int, stretches: list[tuple[int, int]]) -> Iterator[pa.RecordBatch | Damaged]:
        """Yields the batches of a row group, and at an error `Damaged` for all remaining rows."""
        number = 0
        try:
            for batch in self.file.iter_batches(self.rows, row_groups=[group], columns=self.names):
                # "a.b" also names the field b of a column a.
                if self.names is not None and batch.schema.names != self.names:
                    batch = batch.select(self.names)
                if batch.schema.types != self.schema.types:
                    batch = batch.cast(self.schema)
                for start, stop in stretches:
                    first, last = max(start - number, 0), min(stop - number, len(batch))
                    if first < last:
                        yield from self._valid(batch.slice(first, last - first))
                number += len(batch)
                if number >= stretches[-1][1]:
                    return
        except UNREADABLE as error:
            yield Damaged(self.file.metadata.row_group(group).num_rows, first_line(error))

    def _valid(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch | Damaged]:
        """Yields the batch, or its rows if some hold invalid values, such as text that is not UTF-8."""
        try:
            batch.validate(full=True)
        except UNREADABLE as error:
            # A dictionary would be validated again for each row.
            if len(batch) == 1 or any(pa.types.is_dictionary(kind) for kind in batch.schema.types):
                yield Damaged(len(batch), first_line(error))
            else:
                # Copies, since the validation of a slice looks at all values of its lists.
                for row in range(len(batch)):
                    yield from self._valid(batch.take(pa.array([row])))
        else:
            yield from self._bounded(batch)

    def _bounded(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch | Damaged]:
        """Yields the batch, or parts of it that the calling process can hold."""
        if sum(map(size_in_python, batch.columns)) <= self.at_once:
            yield batch
        elif len(batch) == 1:
            yield Damaged(1, f"the row takes more than {self.at_once >> 20} MiB")
        else:
            half = len(batch) // 2
            yield from self._bounded(batch.slice(0, half))
            yield from self._bounded(batch.slice(half))


if __name__ == "__main__":
    main()
