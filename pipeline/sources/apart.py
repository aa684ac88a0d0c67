"""Parquet files that others wrote, read by a process apart: pyarrow ends its process at some damaged ones.

What that process reads comes back, checked, as a stream of Arrow record batches. Where the stream breaks off
because the process was ended, the file is to blame, and a sentence says so.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UserError, first_line
from pipeline.safe_paths import Boundary, SafePath, UnsafePath

OUTLINE = pa.schema([("schema", pa.binary()), ("rows", pa.int64()), ("mistake", pa.string())])
MISTAKE, ROWS = b"mistake", b"rows"
"""What comes with an empty batch in place of rows that can't be read; without a number of rows, of all."""
EMPTY = pa.RecordBatch.from_pylist([], pa.schema([]))
STDIN = 0
MOST_IN_PYTHON = 256 << 20
"""Bytes of the rows that are Python's at once."""
MOST_IN_ARROW = 4 << 30
"""Bytes that the reader may take: ten kilobytes can hold a text of gigabytes a thousand times."""
UNREADABLE = (pa.ArrowException, OSError, ValueError)


class NotParquet(ValueError):
    """A file that can't be opened; the message is why."""

    def __init__(self, path: SafePath, why: str) -> None:
        super().__init__(why)
        self.path = path


@dataclass(frozen=True)
class Outline:
    schema: pa.Schema
    rows: int


@dataclass(frozen=True)
class Damaged:
    """So many rows that can't be read, and why. A footer may claim any number: no more than bytes count."""

    rows: int
    why: str


def outlines(paths: Sequence[SafePath]) -> list[Outline]:
    """What the footers tell. Raises `NotParquet`, and `UserError` for a file that ends its reader."""
    found: list[Outline] = []
    asked = {"outlines": [_to_json(path) for path in paths]}
    for batch, _ in _told(asked, lambda: paths[len(found)]):
        (told,) = batch.to_pylist()
        if told["mistake"] is not None:
            raise NotParquet(paths[len(found)], told["mistake"])
        found.append(Outline(pa.ipc.read_schema(pa.py_buffer(told["schema"])), told["rows"]))
    return found


def records(
    path: SafePath, rows: int, columns: Sequence[str] | None = None
) -> Iterator[dict[str, Any] | Damaged]:
    """All rows, or their `columns`, read so many at a time.

    Raises `UserError` for a file that ends its reader, or can no longer be opened.
    """
    for batch, metadata in _told({"batches": _to_json(path), "rows": rows, "columns": columns}, lambda: path):
        if metadata and ROWS in metadata:
            yield Damaged(min(int(metadata[ROWS]), _size(path)), metadata[MISTAKE].decode())
        elif metadata and MISTAKE in metadata:
            raise UserError(f"{path} can't be read any more: {metadata[MISTAKE].decode()}")
        else:
            yield from _in_python(batch)


def counted_rows(footer: pq.FileMetaData) -> int:
    """Raises `ValueError` for a footer that contradicts itself, which only damage or a stranger makes."""
    groups = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
    if min(groups, default=0) < 0 or sum(groups) != footer.num_rows:
        raise ValueError("its footer counts its rows wrongly")
    return int(footer.num_rows)


def _size(path: SafePath) -> int:
    """In bytes: a damaged footer may count more rows than the file can hold."""
    status = path.status()
    return status.st_size if status is not None else 0


def _in_python(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | Damaged]:
    """So many rows at once that no value of the batch fills the memory, if all of them are it."""
    at_once = max(1, MOST_IN_PYTHON // max(1, batch.nbytes))
    for start in range(0, len(batch), at_once):
        yield from _records_in(batch.slice(start, at_once))


def _records_in(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | Damaged]:
    """Arrow holds more than Python does: times beyond its calendar or in zones that it does not know, two
    fields of one name. A row with such a value costs that row."""
    try:
        yield from batch.to_pylist()
    except MemoryError:
        raise
    except Exception as error:  # each type of Arrow raises its own
        if len(batch) == 1:
            yield Damaged(1, first_line(error))
        else:
            for row in range(len(batch)):
                yield from _records_in(batch.slice(row, 1))


# --- beside the reader --------------------------------------------------------------------------------------

Told = Iterator[tuple[pa.RecordBatch, dict[bytes, bytes] | None]]


def _told(asked: dict[str, Any], suspect: Callable[[], SafePath]) -> Told:
    with _reader(asked) as reader:
        assert reader.stdout is not None
        broken: Exception | None = None
        try:
            with pa.ipc.open_stream(reader.stdout) as stream:
                yield from iter(stream.read_next_batch_with_custom_metadata, None)
        except (pa.ArrowException, OSError) as error:
            broken = error
        reader.stdout.close()
        ended = reader.wait()
        if ended < 0:
            raise UserError(
                f"{suspect()} ends the process that reads it (signal {-ended}): it is damaged, made to do "
                "harm, or too large for the memory: download or write it again, or leave it out"
            )
        if ended > 0:
            raise UserError(f"the process that should read {suspect()} failed: why stands above")
        if broken is not None:
            raise broken


@contextmanager
def _reader(asked: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    # -P: the package that runs here, and not a folder of its name where the command was typed.
    command = [sys.executable, "-P", "-m", __name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:  # noqa: S603 - ours
        assert reader.stdin is not None
        with suppress(BrokenPipeError):  # how it ended tells more
            # It stays open: the reader ends when it is closed, as it is when this process dies.
            reader.stdin.write(json.dumps(asked).encode() + b"\n")
            reader.stdin.flush()
        try:
            yield reader
        finally:
            reader.kill()  # where no more is wanted
            with suppress(BrokenPipeError):  # of what it did not take
                reader.stdin.close()


# --- the reader ---------------------------------------------------------------------------------------------


def main() -> None:
    # Ctrl+C is for the process that asked; it ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked = json.loads(_request())
    threading.Thread(target=_end_with_who_asked, daemon=True).start()
    threading.Thread(target=_end_when_too_large, daemon=True).start()
    if "outlines" in asked:
        _tell_outlines([_from_json(path) for path in asked["outlines"]])
    else:
        _tell_batches(_from_json(asked["batches"]), asked["rows"], asked["columns"])


def _request() -> bytes:
    """One line. Read without `sys.stdin`, whose lock would be held by the thread that goes on to wait."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(STDIN, 1 << 16)
        if not more:
            raise SystemExit(1)
        line += more
    return line


def _end_with_who_asked() -> None:
    """Symptom: ingest was killed, and a reader stayed that waited for a hanging disk. Cause: only a process
    that writes notices that nobody listens. Cure: wait for the end of standard input beside all else."""
    while os.read(STDIN, 1):
        pass
    os._exit(1)


def _to_json(path: SafePath) -> list[str | None]:
    within = path.within
    return [str(path), *((within.folder, within.allowed_by) if within else (None, None))]


def _from_json(parts: list[str]) -> SafePath:
    path, folder, allowed_by = parts
    return SafePath(Path(path), Boundary(folder, allowed_by) if folder is not None else None)


def _end_when_too_large() -> None:
    """Beside the reading, in which Arrow lets other threads run: it takes no limit of its own."""
    while pa.total_allocated_bytes() < MOST_IN_ARROW:
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)


def _tell_outlines(paths: list[SafePath]) -> None:
    with pa.ipc.new_stream(sys.stdout.buffer, OUTLINE) as told:
        for path in paths:
            record = {"schema": b"", "rows": 0, "mistake": None}
            try:
                with path.pinned() as pinned, pq.ParquetFile(pinned) as file:
                    record |= {
                        "schema": file.schema_arrow.serialize().to_pybytes(),
                        "rows": counted_rows(file.metadata),
                    }
            except UnsafePath as unsafe:
                record["mistake"] = unsafe.reason
            except UNREADABLE as error:
                record["mistake"] = first_line(error)
            told.write_batch(pa.RecordBatch.from_pylist([record], OUTLINE))
            # So that it is known which of them ends this process.
            sys.stdout.buffer.flush()


def _tell_batches(path: SafePath, rows: int, columns: list[str] | None) -> None:
    """A row group at a time: what is damaged in one leaves the others."""
    try:
        with path.pinned() as pinned:
            file = pq.ParquetFile(pinned)
    except UNREADABLE as error:
        why = error.reason if isinstance(error, UnsafePath) else first_line(error)
        with pa.ipc.new_stream(sys.stdout.buffer, EMPTY.schema) as told:
            told.write_batch(EMPTY, custom_metadata={MISTAKE: why.encode()})
        return
    of_file = file.schema_arrow
    wanted = set(of_file.names if columns is None else columns)  # there may be a hundred thousand
    schema = pa.schema([f for f in of_file if f.name in wanted], of_file.metadata)
    with file, pa.ipc.new_stream(sys.stdout.buffer, schema) as told:
        for group in range(file.num_row_groups):
            left = file.metadata.row_group(group).num_rows
            for batch in _batches(file, group, rows, None if columns is None else schema.names):
                if isinstance(batch, Damaged):
                    rows_lost = min(batch.rows, left)
                    damaged = {MISTAKE: batch.why.encode(), ROWS: str(rows_lost).encode()}
                    told.write_batch(pa.RecordBatch.from_pylist([], schema), custom_metadata=damaged)
                    left -= rows_lost
                else:
                    told.write_batch(batch.replace_schema_metadata(of_file.metadata))
                    left -= len(batch)


def _batches(
    file: pq.ParquetFile, group: int, rows: int, names: list[str] | None
) -> Iterator[pa.RecordBatch | Damaged]:
    """Ends with what is wrong with all that is left, if anything is."""
    try:
        for batch in file.iter_batches(rows, row_groups=[group], columns=names):
            # "a.b" also names the part b of a column a.
            yield from _valid(batch if names is None or batch.schema.names == names else batch.select(names))
    except UNREADABLE as error:
        yield Damaged(file.metadata.row_group(group).num_rows, first_line(error))


def _valid(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch | Damaged]:
    """The batch; or its rows, where some hold what no value of their type is, such as text in no UTF-8."""
    try:
        batch.validate(full=True)
    except UNREADABLE as error:
        if len(batch) == 1:
            yield Damaged(1, first_line(error))
        else:
            for row in range(len(batch)):
                yield from _valid(batch.slice(row, 1))
    else:
        yield batch


if __name__ == "__main__":
    main()
