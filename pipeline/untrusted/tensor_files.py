"""Untrusted files of tensors: their headers, which parsers read whole.

The parser of safetensors creates an object for each tensor that the header names, without a limit: a header
of 86 MB takes 3 GB. torch reads zip archives by a library of its own, which takes some that `zipfile` refuses
or lists otherwise.
"""

import os
import struct
import zipfile
from typing import IO

LENGTH_BYTES = 8
"""Size of the header's length, at the beginning of the file."""
MOST_OF_HEADER = 1 << 20
"""Maximum size of the header in bytes; a network of a thousand layers takes a tenth."""


def check_header(beginning: bytes) -> None:
    """Checks the file's first `LENGTH_BYTES` before it is parsed. Raises `ValueError` for a large header."""
    if int.from_bytes(beginning[:LENGTH_BYTES], "little") > MOST_OF_HEADER:
        raise ValueError(f"its header claims more than {MOST_OF_HEADER >> 20} MiB")


ARCHIVE = b"PK\x03\x04"
"""Beginning of a file that torch reads as a zip archive."""
MOST_OF_DIRECTORY = 1 << 24
"""Maximum size in bytes of an archive's directory, of which a tensor takes about a hundred."""
_END = struct.Struct("<4s4H2LH")
_PLACE_OF_LONG_END = struct.Struct("<4sLQL")
_LONG_END = struct.Struct("<4sQ2H2L4Q")


def archive_records(file: IO[bytes]) -> list[zipfile.ZipInfo]:
    """Returns the records of a zip archive, as every reader sees them.

    Raises `ValueError` for a large directory, and one that two readers could look for at different places:
    torch writes it at the end of the file, right before what says where it begins.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(-min(size, _END.size + _PLACE_OF_LONG_END.size + _LONG_END.size), os.SEEK_END)
    tail = file.read()
    place = size - _END.size
    if tail[-_END.size :][:4] != b"PK\x05\x06":
        raise ValueError("its end is missing")
    *_, length, start, comment = _END.unpack(tail[-_END.size :])
    tail = tail[: -_END.size]
    if tail[-_PLACE_OF_LONG_END.size :][:4] == b"PK\x06\x07":
        _, _, named, _ = _PLACE_OF_LONG_END.unpack(tail[-_PLACE_OF_LONG_END.size :])
        tail = tail[: -_PLACE_OF_LONG_END.size]
        place -= _PLACE_OF_LONG_END.size + _LONG_END.size
        if named != place or tail[:4] != b"PK\x06\x06":
            raise ValueError("its directory is not where torch writes it")
        *_, length, start = _LONG_END.unpack(tail)
    if comment or start + length != place:
        raise ValueError("its directory is not where torch writes it")
    if length > MOST_OF_DIRECTORY:
        raise ValueError(f"its directory has more than {MOST_OF_DIRECTORY >> 20} MiB")
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, struct.error) as error:
        raise ValueError(f"its directory is damaged: {error}") from None
