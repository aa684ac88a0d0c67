"""Parquet files that others wrote, read by a process apart: pyarrow ends its process at some damaged ones.

What that process reads comes back, checked, as a stream of Arrow record batches. Where the stream breaks off
because the process was ended, the file is to blame, and a sentence says so.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UserError

OUTLINE = pa.schema([("schema", pa.binary()), ("rows", pa.int64()), ("mistake", pa.string())])
MISTAKE, ROWS = b"mistake", b"rows"
"""What comes with an empty batch in place of rows that can't be read."""
UNREADABLE = (pa.ArrowException, OSError, ValueError)


class NotParquet(ValueError):
    """A file that can't be opened; the message is why."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(why)
        self.path = path


@dataclass(frozen=True)
class Outline:
    schema: pa.Schema
    rows: int


@dataclass(frozen=True)
class Damaged:
    """So many rows that can't be read, and why."""

    rows: int
    why: str


def outlines(paths: Sequence[Path]) -> list[Outline]:
    """What the footers tell. Raises `NotParquet`, and `UserError` for a file that ends its reader."""
    found: list[Outline] = []
    asked = {"outlines": list(map(str, paths))}
    for batch, _ in _told(asked, lambda: paths[len(found)]):
        (told,) = batch.to_pylist()
        if told["mistake"] is not None:
            raise NotParquet(paths[len(found)], told["mistake"])
        found.append(Outline(pa.ipc.read_schema(pa.py_buffer(told["schema"])), told["rows"]))
    return found


def batches(
    path: Path, rows: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch | Damaged]:
    """All rows, or their `columns`, at most `rows` at a time.

    Raises `UserError` for a file that ends its reader.
    """
    for batch, metadata in _told({"batches": str(path), "rows": rows, "columns": columns}, lambda: path):
        if metadata and MISTAKE in metadata:
            yield Damaged(int(metadata[ROWS]), metadata[MISTAKE].decode())
        else:
            yield batch


# --- beside the reader --------------------------------------------------------------------------------------

Told = Iterator[tuple[pa.RecordBatch, dict[bytes, bytes] | None]]


def _told(asked: dict[str, Any], suspect: Callable[[], Path]) -> Told:
    with _reader(asked) as reader:
        assert reader.stdout is not None
        broken: Exception | None = None
        try:
            with pa.ipc.open_stream(reader.stdout) as stream:
                yield from iter(stream.read_next_batch_with_custom_metadata, None)
        except (pa.ArrowException, OSError) as error:
            broken = error
        reader.stdout.close()
        if reader.wait() != 0:
            raise UserError(
                f"{suspect()} ends the process that reads it: it is damaged, or made to do harm: download or "
                "write it again, or leave it out"
            )
        if broken is not None:
            raise broken


@contextmanager
def _reader(asked: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    # -P: the package that runs here, and not a folder of its name where the command was typed.
    command = [sys.executable, "-P", "-m", __name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:  # noqa: S603 - ours
        assert reader.stdin is not None
        reader.stdin.write(json.dumps(asked).encode())
        reader.stdin.close()
        try:
            yield reader
        finally:
            reader.kill()  # where no more is wanted


# --- the reader ---------------------------------------------------------------------------------------------


def main() -> None:
    asked = json.load(sys.stdin)
    if "outlines" in asked:
        _tell_outlines(asked["outlines"])
    else:
        _tell_batches(asked["batches"], asked["rows"], asked["columns"])


def _tell_outlines(paths: list[str]) -> None:
    with pa.ipc.new_stream(sys.stdout.buffer, OUTLINE) as told:
        for path in paths:
            record = {"schema": b"", "rows": 0, "mistake": None}
            try:
                with pq.ParquetFile(path) as file:
                    record |= {
                        "schema": file.schema_arrow.serialize().to_pybytes(),
                        "rows": file.metadata.num_rows,
                    }
            except UNREADABLE as error:
                record["mistake"] = _first_line(error)
            told.write_batch(pa.RecordBatch.from_pylist([record], OUTLINE))
            # So that it is known which of them ends this process.
            sys.stdout.buffer.flush()


def _tell_batches(path: str, rows: int, columns: list[str] | None) -> None:
    """A row group at a time: what is damaged in one leaves the others."""
    with pq.ParquetFile(path) as file:
        of_file = file.schema_arrow
        fields = [field for field in of_file if columns is None or field.name in columns]
        schema, names = pa.schema(fields, of_file.metadata), [field.name for field in fields]
        with pa.ipc.new_stream(sys.stdout.buffer, schema) as told:
            for group in range(file.num_row_groups):
                left = file.metadata.row_group(group).num_rows
                try:
                    for batch in file.iter_batches(rows, row_groups=[group], columns=names):
                        batch.validate(full=True)
                        told.write_batch(batch.replace_schema_metadata(of_file.metadata))
                        left -= len(batch)
                except UNREADABLE as error:
                    damaged = {MISTAKE: _first_line(error).encode(), ROWS: str(left).encode()}
                    told.write_batch(pa.RecordBatch.from_pylist([], schema), custom_metadata=damaged)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


if __name__ == "__main__":
    main()
