"""An archive has one directory, whoever reads it."""

import io
import struct
import zipfile
from collections.abc import Callable

import pytest
import torch

from pipeline.untrusted import tensor_files
from pipeline.untrusted.tensor_files import archive_records

END, PLACE, LONG_END = 22, 20, 56


def of_torch() -> bytes:
    buffer = io.BytesIO()
    torch.save({f"w{number}": torch.zeros(4) for number in range(3)}, buffer)
    return buffer.getvalue()


def of_python() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    return buffer.getvalue()


@pytest.mark.parametrize("make", [of_torch, of_python])
def test_the_records_are_those_of_zipfile(make: Callable[[], bytes]) -> None:
    archive = make()
    found = [record.filename for record in archive_records(io.BytesIO(archive))]
    assert found == zipfile.ZipFile(io.BytesIO(archive)).namelist()
    assert any(name.endswith("/data.pkl") for name in found)


def with_a_comment(archive: bytes) -> bytes:
    return archive[:-2] + struct.pack("<H", 5) + b"hello"


def behind_something_else(archive: bytes) -> bytes:
    """`zipfile` takes all places from there on."""
    return b"PK\x03\x04" + archive


def with_two_directories(archive: bytes) -> bytes:
    """`zipfile` reads the last one, and who believes the place that is named reads the first one."""
    start = archive.index(b"PK\x01\x02")
    directory, end = archive[start : archive.index(b"PK\x05\x06")], archive[archive.index(b"PK\x05\x06") :]
    return archive[:start] + directory + directory + end


def with_two_long_ends(archive: bytes) -> bytes:
    """`zipfile` reads the one before the end, and others the one that is named."""
    long_end = archive[-END - PLACE - LONG_END : -END - PLACE]
    return archive[: -END - PLACE] + long_end + archive[-END - PLACE :]


def of_a_later_version(archive: bytes) -> bytes:
    """`zipfile` refuses it, and torch's reader does not look."""
    records = archive.split(b"PK\x01\x02")
    later = [record[:2] + struct.pack("<H", 100) + record[4:] for record in records[1:]]
    return b"PK\x01\x02".join([records[0], *later])


def without_its_end(archive: bytes) -> bytes:
    return archive[:-1]


@pytest.mark.parametrize(
    ("change", "make", "why"),
    [
        (with_a_comment, of_torch, "its end is missing"),
        (behind_something_else, of_torch, "not where torch writes it"),
        (behind_something_else, of_python, "not where torch writes it"),
        (with_two_directories, of_python, "not where torch writes it"),
        (with_two_long_ends, of_torch, "not where torch writes it"),
        (of_a_later_version, of_torch, "its directory is damaged: zip file version 10"),
        (of_a_later_version, of_python, "its directory is damaged: zip file version 10"),
        (without_its_end, of_torch, "its end is missing"),
        (lambda _: b"PK\x03\x04", of_torch, "its end is missing"),
        (lambda _: b"", of_torch, "its end is missing"),
    ],
)
def test_what_readers_can_read_in_two_ways_is_refused(
    change: Callable[[bytes], bytes], make: Callable[[], bytes], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        archive_records(io.BytesIO(change(make())))


def test_a_comment_may_not_hold_another_end() -> None:
    archive = of_python()
    inner = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, 0, len(archive), 0)
    commented = archive[:-2] + struct.pack("<H", len(inner)) + inner
    assert archive_records(io.BytesIO(commented)) == []  # the last end, which both readers find first


def test_a_large_directory_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = of_torch()
    length = len(archive) - END - PLACE - LONG_END - archive.index(b"PK\x01\x02")
    monkeypatch.setattr(tensor_files, "MOST_OF_DIRECTORY", length)
    assert archive_records(io.BytesIO(archive))
    monkeypatch.setattr(tensor_files, "MOST_OF_DIRECTORY", length - 1)
    monkeypatch.setattr(zipfile, "ZipFile", lambda _: pytest.fail("it was read"))
    with pytest.raises(ValueError, match="its directory has more than"):
        archive_records(io.BytesIO(archive))
