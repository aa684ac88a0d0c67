"""Parquet files that others wrote, read in a process of their own: pyarrow ends its process at some damaged
ones, and kilobytes can hold gigabytes.

What that process reads comes back, checked, as a stream of Arrow record batches of bounded size. Where the
stream breaks off because the process was ended, the file is to blame, and a sentence says so.
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
from pipeline.sealed import has_seal, is_unbroken

OUTLINE = pa.schema(
    [("schema", pa.binary()), ("rows", pa.int64()), ("sealed", pa.bool_()), ("mistake", pa.string())]
)
MISTAKE, ROWS = b"mistake", b"rows"
"""What comes with an empty batch in place of rows that can't be read; without a number of rows, of all."""
EMPTY = pa.RecordBatch.from_pylist([], pa.schema([]))
STDIN = 0
MOST_AT_ONCE = 256 << 20
"""Bytes of a batch, and of the rows of it that are Python's. A row that has more counts as damaged."""
MOST_IN_ARROW = 4 << 30
"""Bytes that the reader may take: ten kilobytes can hold a text of gigabytes a thousand times."""
BUFFER_BYTES, LEAST_BUFFER = 64 << 20, 16 << 10
"""Of all columns together, and of one of many."""
LISTS = ((pa.types.is_list, pa.list_), (pa.types.is_large_list, pa.large_list))
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
    sealed: bool
    """Whether this project wrote it, as far as a seal tells, which others can make too."""


@dataclass(frozen=True)
class Damaged:
    """So many rows that can't be read, and why. A footer may claim any number: no more than bytes count."""

    rows: int
    why: str


def outlines(paths: Sequence[SafePath]) -> list[Outline]:
    """What the footers say. Raises `NotParquet`, also where a seal does not fit; and `UserError` for a file
    that ends its reader."""
    found: list[Outline] = []
    asked = {"outlines": [_to_json(path) for path in paths]}
    for batch, _ in _told(asked, lambda: paths[len(found)]):
        (record,) = batch.to_pylist()
        if record["mistake"] is not None:
            raise NotParquet(paths[len(found)], record["mistake"])
        schema = pa.ipc.read_schema(pa.py_buffer(record["schema"]))
        found.append(Outline(schema, record["rows"], record["sealed"]))
    return found


def records(
    path: SafePath, rows: int, columns: Sequence[str] | None = None
) -> Iterator[dict[str, Any] | Damaged]:
    """All rows, or their `columns`, read so many at a time; otherwise as `batches`."""
    for batch in batches(path, rows, columns):
        if isinstance(batch, Damaged):
            yield batch
        else:
            yield from _in_python(batch)


def batches(
    path: SafePath,
    rows: int,
    columns: Sequence[str] | None = None,
    spans: Sequence[tuple[int, int]] | None = None,
) -> Iterator[pa.RecordBatch | Damaged]:
    """All columns, or the named ones in the file's order, `rows` at a time or fewer where they are large.

    `spans`: the first row and the one behind the last of each stretch, in ascending order; None: all rows.
    Raises `UserError` for a file that ends its reader, or can no longer be opened.
    """
    asked = {"batches": _to_json(path), "rows": rows, "columns": columns, "spans": spans}
    for batch, metadata in _told(asked, lambda: path):
        if metadata and ROWS in metadata:
            yield Damaged(min(int(metadata[ROWS]), _size(path)), metadata[MISTAKE].decode())
        elif metadata and MISTAKE in metadata:
            raise UserError(f"{path} can't be read any more: {metadata[MISTAKE].decode()}")
        else:
            yield batch


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
    at_once = max(1, MOST_AT_ONCE // max(1, batch.nbytes))
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
            reader.stdin.write(json.dumps(asked | {"most": MOST_IN_ARROW}).encode() + b"\n")
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
    threading.Thread(target=_end_when_too_large, args=[asked["most"]], daemon=True).start()
    if "outlines" in asked:
        _tell_outlines([_from_json(path) for path in asked["outlines"]])
    else:
        _tell_batches(_from_json(asked["batches"]), asked["rows"], asked["columns"], asked["spans"])


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


def _end_when_too_large(most: int) -> None:
    """Beside the reading, in which Arrow lets other threads run: it takes no limit of its own."""
    while pa.total_allocated_bytes() < most:
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)


def _tell_outlines(paths: list[SafePath]) -> None:
    with pa.ipc.new_stream(sys.stdout.buffer, OUTLINE) as stream:
        for path in paths:
            record = {"schema": b"", "rows": 0, "sealed": False, "mistake": None}
            try:
                with path.pinned() as pinned:
                    record["sealed"] = has_seal(pinned)
                    if record["sealed"] and not is_unbroken(pinned):
                        raise ValueError("its bytes are not those that were written")
                    with pq.ParquetFile(pinned) as file:
                        record["schema"] = file.schema_arrow.serialize().to_pybytes()
                        record["rows"] = counted_rows(file.metadata)
            except UnsafePath as unsafe:
                record["mistake"] = unsafe.reason
            except UNREADABLE as error:
                record["mistake"] = first_line(error)
            stream.write_batch(pa.RecordBatch.from_pylist([record], OUTLINE))
            # So that it is known which of them ends this process.
            sys.stdout.buffer.flush()


def _tell_batches(
    path: SafePath, rows: int, columns: list[str] | None, spans: list[tuple[int, int]] | None
) -> None:
    """A row group at a time: what is damaged in one leaves the others."""
    try:
        with path.pinned() as pinned:
            footer = pq.read_metadata(pinned)
            # Pages are read as they are needed: a row group takes no more memory if it is larger.
            file = pq.ParquetFile(
                pinned,
                metadata=footer,
                buffer_size=max(LEAST_BUFFER, BUFFER_BYTES // max(1, footer.num_columns)),
                pre_buffer=False,
                page_checksum_verification=True,
            )
    except UNREADABLE as error:
        why = error.reason if isinstance(error, UnsafePath) else first_line(error)
        with pa.ipc.new_stream(sys.stdout.buffer, EMPTY.schema) as stream:
            stream.write_batch(EMPTY, custom_metadata={MISTAKE: why.encode()})
        return
    of_file = file.schema_arrow
    wanted = set(of_file.names if columns is None else columns)  # there may be a hundred thousand
    schema = pa.schema([_countable(f) for f in of_file if f.name in wanted], of_file.metadata)
    names = None if columns is None else schema.names
    with file, pa.ipc.new_stream(sys.stdout.buffer, schema) as stream:
        first = 0
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            stretches = _stretches(spans, first, count)
            left = sum(stop - start for start, stop in stretches)
            for batch in _batches(file, group, rows, names, schema, stretches) if left else ():
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
    """The parts of `spans` in a group of `count` rows that begins at row `first`, counted from there."""
    if spans is None:
        return [(0, count)]
    inside = [(max(start - first, 0), min(stop - first, count)) for start, stop in spans]
    return [(start, stop) for start, stop in inside if start < stop]


def _batches(
    file: pq.ParquetFile,
    group: int,
    rows: int,
    names: list[str] | None,
    schema: pa.Schema,
    stretches: list[tuple[int, int]],
) -> Iterator[pa.RecordBatch | Damaged]:
    """Ends with what is wrong with all that is left, if anything is."""
    number = 0
    try:
        for batch in file.iter_batches(rows, row_groups=[group], columns=names):
            # "a.b" also names the part b of a column a.
            batch = batch if names is None or batch.schema.names == names else batch.select(names)
            batch = batch if batch.schema.types == schema.types else batch.cast(schema)
            for start, stop in stretches:
                first, last = max(start - number, 0), min(stop - number, len(batch))
                if first < last:
                    yield from _valid(batch.slice(first, last - first))
            number += len(batch)
            if number >= stretches[-1][1]:
                return
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
        yield from _bounded(batch)


def _bounded(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch | Damaged]:
    """The batch, or parts of it that the process which asked can hold."""
    if batch.nbytes <= MOST_AT_ONCE:
        yield batch
    elif len(batch) == 1:
        yield Damaged(1, f"the row holds more than {MOST_AT_ONCE >> 20} MiB")
    else:
        half = len(batch) // 2
        yield from _bounded(batch.slice(0, half))
        yield from _bounded(batch.slice(half))


def _countable(field: pa.Field) -> pa.Field:
    """Without dictionaries inside lists and structs. One row of a list could repeat a long text a million
    times, which the size of the batch would not show."""
    return field.with_type(_without_dictionaries(field.type)) if pa.types.is_nested(field.type) else field


def _without_dictionaries(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_without_dictionaries(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_without_dictionaries(kind.key_type), _without_dictionaries(kind.item_type))
    for is_list, list_of in LISTS:
        if is_list(kind):
            return list_of(kind.value_field.with_type(_without_dictionaries(kind.value_type)))
    return kind


if __name__ == "__main__":
    main()
