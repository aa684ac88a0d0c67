"""Tar archives that are half downloaded, damaged, joined, or made to do harm."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from hostile_tables import header, pax
from pipeline.sources.reading.tar_archives import LONGEST_HEADERS
from sources.img2dataset import packed, run_journey, samples
from sources.journey import write

pytestmark = pytest.mark.slow


def cut(whole: bytes, place: str) -> bytes:
    """`whole` as a download left it that stopped within the sixth sample's members, or after them."""
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        member = archive.getmember("000000005.jpg")
        after = archive.getmember("000000006.jpg")
    return {
        "in the picture": whole[: member.offset_data + 100],
        "in its header": whole[: member.offset + 200],
        "before its header": whole[: member.offset],
        "between two samples": whole[: after.offset],
        "a damaged header": whole[: member.offset] + b"\xff" * 512 + whole[member.offset + 512 :],
        "a wrong checksum": whole[: member.offset + 10] + b"?" + whole[member.offset + 11 :],
    }[place]


@pytest.mark.parametrize(
    ("place", "whole_samples"),
    [
        ("in the picture", 5),
        ("in its header", 4),
        ("before its header", 4),
        ("between two samples", 5),
        ("a damaged header", 4),
        ("a wrong checksum", 4),
    ],
)
def test_of_a_half_downloaded_shard_the_samples_so_far_are_kept(
    tmp_path: Path, place: str, whole_samples: int
) -> None:
    """Where it ends between two members nothing says whether the last sample is whole: it is not kept."""
    first, second = packed([*samples(range(8))]), packed([*samples(range(8, 12))])
    write(tmp_path / "shards", {"0.tar": cut(first, place), "1.tar": second})
    got = run_journey(tmp_path, test_fraction=0.5)
    kept = sorted(row["id"] for row in got.train + got.test)
    assert kept == [f"0.tar/{n:09d}" for n in range(whole_samples)] + [f"1.tar/{n:09d}" for n in range(8, 12)]
    assert list(got.refused) == ["0.tar"]
    lost = f"from {whole_samples:09d} on"
    assert got.refused["0.tar"].startswith(f"the archive is damaged or not whole, {lost}: ")


def test_a_header_that_points_backwards_ends_the_shard(tmp_path: Path) -> None:
    """A negative size, in the binary form that GNU tar writes, would send the reader back for ever."""
    whole = bytearray(packed([*samples(range(3))]))
    with tarfile.open(fileobj=io.BytesIO(bytes(whole))) as archive:
        start = archive.getmember("000000002.jpg").offset
    header = whole[start : start + 512]
    header[124:136] = (-1536).to_bytes(12, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    whole[start : start + 512] = header
    write(tmp_path / "shards", {"0.tar": bytes(whole)})
    got = run_journey(tmp_path, test_fraction=0.5)
    assert list(got.refused) == ["0.tar"]
    assert got.refused["0.tar"].startswith("the archive is damaged or not whole, from 000000001 on: ")


def test_a_list_of_holes_is_not_held(tmp_path: Path) -> None:
    """A map of holes is as long as its member: it is read before the member can be refused."""
    sparse = pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})
    numbers = b"1\n" * (LONGEST_HEADERS // 2)
    holes = header("x", b"x", sparse) + header("b.jpg", b"0", b"%d\n" % (len(numbers) // 4) + numbers)
    whole = packed([*samples(range(3))])
    start = len(whole.rstrip(b"\0"))
    padded = whole[:start] + bytes(-start % 512)
    write(tmp_path / "shards", {"0.tar": padded + holes + bytes(1024)})
    got = run_journey(tmp_path, test_fraction=0.5)
    assert list(got.refused) == ["0.tar"]
    assert "a header of 1,0" in got.refused["0.tar"]
    assert len(got.train + got.test) >= 2


def test_archives_that_cat_joined_are_read_to_the_end_of_the_last(tmp_path: Path) -> None:
    three = [packed(samples(range(8 * k, 8 * k + 8))) for k in range(3)]
    # Padded as another program would, by less than a record of tar and by more than is read at once.
    joined = three[0].rstrip(b"\0")
    joined += bytes(-len(joined) % 512 + 1024) + three[1] + bytes(512 * 1000) + three[2]
    write(tmp_path / "shards", {"a.tar": joined})
    got = run_journey(tmp_path)
    assert (len(got.train) + len(got.test), got.refused) == (24, {})


def test_what_follows_the_end_and_is_no_archive_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "shards", {"a.tar": packed(samples(range(16))) + b"signed by nobody"})
    got = run_journey(tmp_path, max_reject_fraction=0.2)
    assert len(got.train) + len(got.test) == 16
    ((where, reason),) = got.refused.items()
    assert where == "a.tar"
    assert reason.endswith("what follows its end is no archive")


def test_a_hole_behind_the_end_costs_no_time(tmp_path: Path) -> None:
    write(tmp_path / "shards", {"a.tar": packed(samples(range(16)))})
    os.truncate(tmp_path / "shards/a.tar", 1 << 42)
    assert run_journey(tmp_path).refused == {}
