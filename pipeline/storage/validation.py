"""Reading and validating what another stage wrote; damage is reported in one sentence.

Every file that passes between stages is read through this module. A file may be missing, cut, empty, changed
in a byte, or from another run than its neighbours; the sentence names it, what is wrong, and the command that
recreates it. The sentence contains `clinfonce repair` because DVC alone may restore the same damaged bytes:
outputs can be hard links to its cache, whose files DVC does not check again.
"""

import csv
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from pipeline.runtime.errors import UserError, first_line, system_error_message
from pipeline.storage import files
from pipeline.storage.checksums import is_unbroken
from pipeline.storage.files import version_of

Record = TypeVar("Record")


def damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path} is damaged ({why}): run `clinfonce repair {path}` and then `dvc repro`")


def missing(path: Path) -> UserError:
    return UserError(f"{path} is missing: run `dvc repro`, which makes it")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Reports errors in the block as damage of `path`, unless the machine is their cause."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, pa.ArrowException) as error:
        # pyarrow raises OSError for damage, too.
        if system_error_message(error):
            raise
        raise damaged(path, first_line(error)) from None


# --- Parquet ------------------------------------------------------------------------------------------------


def check_parquet(path: Path, schema: pa.Schema | None = None) -> int:
    """Returns the number of rows. Raises `UserError` for a file that was changed, or has another schema.

    Columns that are not in `schema` are allowed. Pages of images are not read: `open_parquet` compares their
    checksums when they are.
    """
    with reading(path):
        rows, found = _checked(path, version_of(path.stat()))
    for field in schema or ():
        found_type = found.field(field.name).type if field.name in found.names else None
        if found_type is None:
            raise damaged(path, f"it has no column {field.name}")
        if found_type != field.type:
            raise damaged(path, f"its column {field.name} holds {found_type} and not {field.type}")
    return rows


@lru_cache(maxsize=4096)
def _checked(path: Path, _version: tuple[int, ...]) -> tuple[int, pa.Schema]:
    """Runs once per process for a file that does not change."""
    if not path.stat().st_size:
        raise damaged(path, "it is empty")
    if not is_unbroken(path):
        raise damaged(path, "its bytes are not those that were written")
    with pq.ParquetFile(path) as file:
        return file.metadata.num_rows, file.schema_arrow


@contextmanager
def open_parquet(path: Path, metadata: pq.FileMetaData | None = None) -> Iterator[pq.ParquetFile]:
    """Opens a file for reading in the block, in which each page is compared with its checksum."""
    with reading(path), pq.ParquetFile(path, metadata=metadata, page_checksum_verification=True) as file:
        yield file


def read_parquet(
    path: Path, schema: pa.Schema | None = None, columns: Sequence[str] | None = None
) -> pa.Table:
    """Reads the whole table, or `columns` of it, in their order."""
    rows = check_parquet(path, schema)
    with open_parquet(path) as file:
        table = file.read(columns=columns)
        table.validate(full=True)
        if len(table) != rows:
            raise damaged(path, f"{len(table)} of its {rows} rows can be read")
        return table if columns is None else table.select(list(columns))


# --- JSON and CSV -------------------------------------------------------------------------------------------


def read_json(path: Path, shape: type[Record]) -> Record:
    """Reads an object with at least the keys of the `TypedDict` `shape`, of their types."""
    with reading(path):
        value = files.read_json(path)
        try:
            TypeAdapter(shape).validate_python(value, strict=True)
        except ValidationError as error:
            raise damaged(path, _first_mistake(error)) from None
    record: Record = value
    return record


def _first_mistake(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


def check_csv(path: Path, columns: Sequence[str]) -> int:
    """Returns the number of rows below a header of at least `columns`.

    Raises `UserError` for a file that was cut or lacks a column.
    """
    with reading(path), path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(_whole_lines(path, file), strict=True)
        header = next(rows, [])
        for name in columns:
            if name not in header:
                raise damaged(path, f"it has no column {name}" if header else "it is empty")
        count = 0
        for row in rows:
            if len(row) != len(header):
                raise damaged(path, f"line {rows.line_num} has {len(row)} of {len(header)} cells")
            count += 1
        return count


def _whole_lines(path: Path, lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.endswith("\n"):
            raise damaged(path, "its last line is cut")
        yield line


# --- files of one run ---------------------------------------------------------------------------------------


def check_rows(path: Path, rows: int, expected: int, counted_by: Path) -> None:
    if rows != expected:
        raise damaged(path, f"it has {rows} rows, and {counted_by} lists {expected}")


def check_ids(path: Path, ids: Iterable[str], known: Container[str], images: Path) -> None:
    if any(name not in known for name in ids):
        raise damaged(path, f"it names images that {images} lacks")
