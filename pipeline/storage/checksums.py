"""Parquet files in which any changed byte is detected, and that other readers read as ordinary ones.

Parquet has checksums of pages (CRC-32), but neither of their headers nor of the footer, which holds the
schema and the counts. So a checksum is stored before the footer, where no reader looks: a mark, a hash of the
footer, and a hash of all bytes before the mark except the stored images, which are most of the bytes and have
the checksums of their pages.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

MARK = b"blake2b:"
HASH_BYTES = 32
CHECKSUM_BYTES = len(MARK) + 2 * HASH_BYTES
TAIL_BYTES = len("size" + "PAR1")
"""Size of the end of the file: the footer's length in four bytes, and the format's name."""
SUMMED_BY_PAGES = "image.bytes"
"""Column that the checksum leaves out, since its pages have checksums of their own."""
BYTES_AT_ONCE = 1 << 20


@contextmanager
def checksummed_writer(path: Path, schema: pa.Schema, **options: object) -> Iterator[pq.ParquetWriter]:
    """Writes tables to `path`, with a checksum per page; adds the file's after a block without an error."""
    with pq.ParquetWriter(path, schema, write_page_checksum=True, **options) as writer:
        yield writer
    checksum(path)


def write_checksummed(table: pa.Table, path: Path) -> None:
    with checksummed_writer(path, table.schema) as writer:
        writer.write_table(table)


def checksum(path: Path) -> None:
    """Adds the checksum to a whole Parquet file."""
    with path.open("rb+") as file:
        end, footer = _footer(file)
        hashes = _hash_of(footer) + _hash_before(end, file)
        file.seek(end)
        file.write(MARK + hashes + footer)


def is_unbroken(path: Path) -> bool:
    """Returns whether the file has a checksum that matches its content.

    pyarrow must not read a file for which it does not: some damaged footers crash the whole process.
    """
    with path.open("rb") as file:
        end, found, footer = _checksum_of(file)
        of_footer = found == MARK + _hash_of(footer) + found[-HASH_BYTES:]
        return of_footer and found[-HASH_BYTES:] == _hash_before(end, file)


def has_checksum(path: Path) -> bool:
    """Returns whether the file has the mark of a checksum, which files of other programs lack."""
    with path.open("rb") as file:
        return _checksum_of(file)[1].startswith(MARK)


def _checksum_of(file: BinaryIO) -> tuple[int, bytes, bytes]:
    """Returns the start of the checksum, its bytes and those of the footer after it.

    For a file without a checksum these are arbitrary bytes.
    """
    start, footer = _footer(file)
    end = max(start - CHECKSUM_BYTES, 0)
    file.seek(end)
    return end, file.read(start - end), footer


def _footer(file: BinaryIO) -> tuple[int, bytes]:
    """Returns the start of the footer, and its bytes with the tail; arbitrary if the file is not Parquet."""
    size = file.seek(0, 2)
    file.seek(max(size - TAIL_BYTES, 0))
    length = int.from_bytes(file.read(TAIL_BYTES)[:4], "little")
    start = max(size - TAIL_BYTES - length, 0)
    file.seek(start)
    return start, file.read()


def _hash_of(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=HASH_BYTES).digest()


def _hash_before(end: int, file: BinaryIO) -> bytes:
    """Returns the hash of the bytes before `end`, except the stored images."""
    digest, place = hashlib.blake2b(digest_size=HASH_BYTES), 0
    for start, stop in [*_images(file), (end, end)]:
        file.seek(place)
        while place < start and (read := file.read(min(BYTES_AT_ONCE, start - place))):
            digest.update(read)
            place += len(read)
        place = stop
    return digest.digest()


def _images(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yields the start and end of each run of stored images, in order."""
    metadata = pq.read_metadata(file)
    columns = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
    if SUMMED_BY_PAGES in columns:
        for group in range(metadata.num_row_groups):
            chunk = metadata.row_group(group).column(columns.index(SUMMED_BY_PAGES))
            yield chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
