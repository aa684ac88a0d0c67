"""The members of tar archives that come from others: in one pass, with bounds on what headers take."""

import errno
import os
import re
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

BLOCKS_AT_ONCE = 128
LONGEST_HEADER = 256 * 1024
"""Maximum bytes of one header, such as a long name, or fields that apply to all members after it."""
LONGEST_HEADERS = 1024 * 1024
"""Maximum bytes of all headers of one member, such as the positions of its holes."""
MOST_GLOBAL_FIELDS = 1000
"""Maximum number of fields for all following members, since they are copied for each of them."""
MOST_DIGITS = re.compile(rb"\d{256}")
"""A long number: before Python 3.11.10, tarfile searches for a number from each of its digits on."""
DAMAGES = (
    *(tarfile.TarError, OSError, EOFError, ValueError),
    *(ArithmeticError, LookupError, RecursionError, MemoryError),
)
"""Exceptions of tarfile for damaged and malicious headers."""


class _Headers:
    """The file object that tarfile reads, which limits the size of headers; tarfile reads nothing else."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.close, self.write = file.seek, file.tell, file.close, file.write
        self.begin_member()

    def begin_member(self) -> None:
        self._of_the_member = 0

    def read(self, size: int) -> bytes:
        self._of_the_member += size
        if size > LONGEST_HEADER or self._of_the_member > LONGEST_HEADERS:
            raise tarfile.ReadError(f"a header of {max(size, self._of_the_member):,} bytes or more")
        header = self._file.read(size)
        if MOST_DIGITS.search(header):
            raise tarfile.ReadError("a header with a number of hundreds of digits")
        return header


def archives(file: BinaryIO) -> Iterator[Iterator[tarfile.TarInfo]]:
    """Yields the members of each archive in a file, to be read to their end before the next archive's.

    Damage raises one of `DAMAGES`, also if what follows the end of an archive is not another one.

    Symptom: half of a shard is missing. Cause: `cat a.tar b.tar` leaves the end mark of a.tar in the middle,
    where readers stop. Cure: what follows an end mark is read as another archive.
    """
    start: int | None = 0
    while start is not None:
        file.seek(start)
        # "r:" accepts no compression: a shard is as large as it looks.
        with tarfile.open(fileobj=_Headers(file), mode="r:") as archive:
            if start and not archive.members:  # type: ignore[attr-defined]
                raise tarfile.ReadError("what follows its end is no archive")
            yield _members(archive, file)
            start = _next_content(file, archive.offset)


def _members(archive: tarfile.TarFile, file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Yields the members in order. Raises `ReadError` if a header points backwards, as in a circle, and at
    the end unless the archive ends as it should."""
    place = -1
    headers = archive.fileobj
    assert isinstance(headers, _Headers)
    while (member := archive.next()) is not None:
        headers.begin_member()
        if member.offset <= place or member.size < 0:
            raise tarfile.ReadError("a header points backwards")
        if len(archive.pax_headers) > MOST_GLOBAL_FIELDS:
            raise tarfile.ReadError(f"more than {MOST_GLOBAL_FIELDS:,} fields for all members")
        place = member.offset
        yield member
        archive.members.clear()  # type: ignore[attr-defined]  # it would grow with the shard
    _check_end(archive, file)


def _check_end(archive: tarfile.TarFile, file: BinaryIO) -> None:
    """Raises `ReadError` unless the archive ends with a block of zeros: tarfile also stops at a header that
    is cut or damaged."""
    file.seek(archive.offset)
    block = file.read(tarfile.BLOCKSIZE)
    if block != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(
            "a damaged header" if block.strip(b"\0") else "the mark of its end is missing"
        )


def _next_content(file: BinaryIO, end: int) -> int | None:
    """Returns the start of the first block at or after `end` that is not all zeros; None if there is none."""
    place = _past_hole(file, end)
    while place is not None:
        file.seek(place)
        blocks = file.read(BLOCKS_AT_ONCE * tarfile.BLOCKSIZE)
        if content := blocks.lstrip(b"\0"):
            zeros = len(blocks) - len(content)
            return place + zeros - zeros % tarfile.BLOCKSIZE
        place = _past_hole(file, place + len(blocks)) if blocks else None
    return None


def _past_hole(file: BinaryIO, place: int) -> int | None:
    """Returns `place`, or the next block with data if a sparse file, which may claim any size, has a hole
    there; None if no data follow."""
    try:
        found = os.lseek(file.fileno(), place, os.SEEK_DATA)
    except OSError as error:
        # ENXIO: only a hole or nothing is left. Any other error: the file system does not support holes.
        return None if error.errno == errno.ENXIO else place
    return found - found % tarfile.BLOCKSIZE
