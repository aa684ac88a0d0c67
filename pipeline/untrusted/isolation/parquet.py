"""Reading of untrusted Parquet files in a separate process: some damaged files crash pyarrow, and kilobytes
can expand to gigabytes.

That process checks what it reads, and returns it as a stream of Arrow record batches of bounded size. If the
stream breaks off because the process was killed, the file is to blame, and the error message says so.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from pipeline.runtime.errors import UserError, first_line
from pipeline.runtime.json_text import parse_json
from pipeline.untrusted.isolation import parquet_reader
from pipeline.untrusted.isolation.parquet_reader import MISTAKE, ROWS, Damaged
from pipeline.untrusted.isolation.plain_types import with_times_as_text
from pipeline.untrusted.safe_paths import SafePath

__all__ = [
    "Damaged",
    "NotParquet",
    "ParquetHeader",
    "batches",
    "json_in_metadata",
    "parquet_headers",
    "records",
]

MOST_AT_ONCE = 160 << 20
"""Maximum bytes of a batch as Python objects: more than the largest image. A larger row is damaged."""
MOST_MEMORY = 4 << 30
"""Maximum memory of the reader in bytes: ten kilobytes can hold a text of gigabytes a thousand times."""
MOST_OF_METADATA = 4 << 20
"""Maximum bytes of a metadata value that is parsed, which takes sixty times as many."""


class NotParquet(ValueError):
    """Raised for a file that can't be opened; the message is the reason."""

    def __init__(self, path: SafePath, why: str) -> None:
        super().__init__(why)
        self.path = path


@dataclass(frozen=True)
class ParquetHeader:
    schema: pa.Schema
    rows: int
    checksummed: bool
    """Whether it has this project's checksum, which other programs can write, too."""


def parquet_headers(paths: Sequence[SafePath]) -> list[ParquetHeader]:
    """Returns the content of the footers. Raises `NotParquet`, also for a wrong checksum, and `UserError` for
    a file that crashes its reader."""
    found: list[ParquetHeader] = []
    request = {"outlines": [_to_json(path) for path in paths]}
    for batch, _ in _messages(request, lambda: paths[len(found)]):
        (record,) = batch.to_pylist()
        if record["mistake"] is not None:
            raise NotParquet(paths[len(found)], record["mistake"])
        schema = pa.ipc.read_schema(pa.py_buffer(record["schema"]))
        found.append(ParquetHeader(schema, record["rows"], record["has_checksum"]))
    return found


def json_in_metadata(schema: pa.Schema, key: bytes) -> Any:
    """Returns the parsed value of `key` in the metadata. Raises `ValueError` if it is not JSON, too long, or
    missing."""
    text = (schema.metadata or {}).get(key, b"")
    if len(text) > MOST_OF_METADATA:
        raise ValueError(f"more than {MOST_OF_METADATA >> 20} MiB")
    return parse_json(text)


def records(
    path: SafePath, rows: int, columns: Sequence[str] | None = None
) -> Iterator[dict[str, Any] | Damaged]:
    """Yields all rows, or their `columns`, reading `rows` of them at a time; otherwise like `batches`."""
    for batch in batches(path, rows, columns):
        if isinstance(batch, Damaged):
            yield batch
        else:
            yield from _records_in(batch)


def batches(
    path: SafePath,
    rows: int,
    columns: Sequence[str] | None = None,
    spans: Sequence[tuple[int, int]] | None = None,
    *,
    keep_dictionaries: bool = False,
) -> Iterator[pa.RecordBatch | Damaged]:
    """Yields all columns, or the named ones in the file's order, `rows` rows at a time, or fewer large ones.

    Their types are those of `plain_schema`. `spans`: the first row and the one after the last of each
    stretch, in ascending order; None: all rows. Raises `UserError` for a file that crashes its reader, or can
    no longer be opened.
    """
    request = {
        "batches": _to_json(path),
        "rows": rows,
        "columns": columns,
        "spans": spans,
        "keep_dictionaries": keep_dictionaries,
    }
    for batch, metadata in _messages(request, lambda: path):
        if metadata and ROWS in metadata:
            yield Damaged(min(int(metadata[ROWS]), _size(path)), metadata[MISTAKE].decode())
        elif metadata and MISTAKE in metadata:
            raise UserError(f"{path} can't be read any more: {metadata[MISTAKE].decode()}")
        else:
            yield batch


def _size(path: SafePath) -> int:
    """Returns the size in bytes, which bounds the number of rows that a damaged footer claims."""
    status = path.status()
    return status.st_size if status is not None else 0


def _records_in(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | Damaged]:
    """Yields the rows of a batch. A row is damaged if it has a value that Arrow can hold and Python cannot,
    such as two fields of one name."""
    try:
        yield from with_times_as_text(batch).to_pylist()
    except MemoryError:
        raise
    except Exception as error:  # each type of Arrow raises its own
        if len(batch) == 1:
            yield Damaged(1, first_line(error))
        else:
            for row in range(len(batch)):
                yield from _records_in(batch.slice(row, 1))


Messages = Iterator[tuple[pa.RecordBatch, dict[bytes, bytes] | None]]


def _messages(request: dict[str, Any], suspect: Callable[[], SafePath]) -> Messages:
    with _reader(request) as reader:
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
def _reader(request: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    # -P: import the running package, not a folder of the same name in the working directory.
    command = [sys.executable, "-P", "-m", parquet_reader.__name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:  # noqa: S603 - ours
        assert reader.stdin is not None
        with suppress(BrokenPipeError):  # the exit status says more
            # It stays open: the reader ends when it is closed, also by the death of this process.
            reader.stdin.write(
                json.dumps(request | {"most": MOST_MEMORY, "at_once": MOST_AT_ONCE}).encode() + b"\n"
            )
            reader.stdin.flush()
        try:
            yield reader
        finally:
            reader.kill()  # in case the caller stops early
            with suppress(BrokenPipeError):  # for input that it did not read
                reader.stdin.close()


def _to_json(path: SafePath) -> dict[str, Any]:
    return {"path": str(path), "within": path.within and asdict(path.within)}
