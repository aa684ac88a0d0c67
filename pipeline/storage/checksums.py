"""Parquet files in which any changed byte is found, and that any other reader takes for ordinary ones.

Parquet can sum up each page (CRC-32), but neither the headers of the pages nor the footer, which holds the
schema and the counts. So a checksum stands before the footer, where no reader looks: a mark, a hash of the
footer, and one of all before it except the stored images, which are most of the bytes and have their pages'
sums.
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
"""At the end of the file: the footer's length in four bytes, and the format's name."""
SUMMED_BY_PAGES = "image.bytes"
"""The column whose pages have sums of their own, left out of the checksum."""
BYTES_AT_ONCE = 1 << 20


@contextmanager
def checksummed_writer(path: Path, schema: pa.Schema, **options: object) -> Iterator[pq.ParquetWriter]:
    """Writes tables to `path`, with a sum in each page; a block without an error adds the checksum."""
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
    """Whether the file has a checksum, and it fits what it covers.

    Of a file for which it does not, pyarrow must not read it: it ends the whole process at some
    damaged footers.
    """
    with path.open("rb") as file:
        end, found, footer = _checksum_of(file)
        of_footer = found == MARK + _hash_of(footer) + found[-HASH_BYTES:]
        return of_footer and found[-HASH_BYTES:] == _hash_before(end, file)


def has_checksum(path: Path) -> bool:
    """Whether we wrote it, as far as its mark shows; files that others wrote have none."""
    with path.open("rb") as file:
        return _checksum_of(file)[1].startswith(MARK)


def _checksum_of(file: BinaryIO) -> tuple[int, bytes, bytes]:
    """Where it starts, its bytes and those of the footer behind it; of a file without one, any bytes."""
    start, footer = _footer(file)
    end = max(start - CHECKSUM_BYTES, 0)
    file.seek(end)
    return end, file.read(start - end), footer


def _footer(file: BinaryIO) -> tuple[int, bytes]:
    """Where it starts, and its bytes with the tail; of what is no Parquet file, any."""
    size = file.seek(0, 2)
    file.seek(max(size - TAIL_BYTES, 0))
    length = int.from_bytes(file.read(TAIL_BYTES)[:4], "little")
    start = max(size - TAIL_BYTES - length, 0)
    file.seek(start)
    return start, file.read()


def _hash_of(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=HASH_BYTES).digest()


def _hash_before(end: int, file: BinaryIO) -> bytes:
    """Of the bytes before `end`, but for the stored images."""
    digest, place = hashlib.blake2b(digest_size=HASH_BYTES), 0
    for start, stop in [*_images(file), (end, end)]:
        file.seek(place)
        while place < start and (read := file.read(min(BYTES_AT_ONCE, start - place))):
            digest.update(read)
            place += len(read)
        place = stop
    return digest.digest()


def _images(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Where stored images start and end, in their order."""
    metadata = pq.read_metadata(file)
    columns = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
    if SUMMED_BY_PAGES in columns:
        for group in range(metadata.num_row_groups):
            chunk = metadata.row_group(group).column(columns.index(SUMMED_BY_PAGES))
            yield chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
