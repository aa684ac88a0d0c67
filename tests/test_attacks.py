"""What attacks found: one test per finding."""

import errno
import json
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.encoders.base import Architecture
from pipeline.encoders.registry import build_encoder
from pipeline.executors.base import Job
from pipeline.executors.select import ExecutorName, open_executor
from pipeline.experiments.report_study import _code
from pipeline.experiments.selection import _value
from pipeline.inference.images.open import open_pictures
from pipeline.ingest.decoding import MAX_BYTES, ImageRefused
from pipeline.ingest.prepare import pixels_to_store, prepare_image, stored_pixels
from pipeline.runtime.device import pick_device
from pipeline.runtime.errors import UserError, system_error_message
from pipeline.sources.base import Refusal
from pipeline.sources.registry import open_source
from pipeline.training.launch import joined_ranks
from pipeline.untrusted.safe_paths import Boundary, Root, SafePath
from pipeline.untrusted.unsafe_path import UnsafePath
from support import params_with, png


def rows_of(folder: Path) -> list[object]:
    params = params_with(ingest={"source": "huggingface", "path": str(folder)}).ingest
    return list(open_source(params, 0).rows())


@pytest.mark.parametrize("outside", [False, True])
def test_a_path_of_a_million_parts_is_too_long(tmp_path: Path, outside: bool) -> None:
    root = Root(tmp_path, None if outside else Boundary.around(tmp_path, "nothing"))
    with pytest.raises(UnsafePath, match="the path is too long"):
        root.file("a/" * 500_000 + "x.png")


def test_a_path_of_more_folders_than_are_listed_is_too_deep(tmp_path: Path) -> None:
    with pytest.raises(UnsafePath, match="more than 100 folders deep"):
        Root(tmp_path, None).file("a/" * 101 + "x.png")
    Root(tmp_path, None).file("a/" * 100 + "x.png")


@pytest.mark.parametrize(("kind", "path"), [(pa.int64(), 7), (pa.binary(), b"\xff0.png")])
def test_an_image_s_path_that_is_no_text_costs_its_row(
    tmp_path: Path, kind: pa.DataType, path: object
) -> None:
    struct_of = pa.struct([("bytes", pa.binary()), ("path", kind)])
    images = pa.array([{"bytes": png(0), "path": path}, {"bytes": png(1), "path": None}], struct_of)
    pq.write_table(pa.table({"image": images, "label": ["a", "b"]}), tmp_path / "train.parquet")
    first, second = rows_of(tmp_path)
    assert isinstance(first, Refusal)
    assert first.reason == "the image's path is no text"
    assert not isinstance(second, Refusal)


def with_row_count(path: Path, rows: int, claimed: int) -> None:
    """Another number in the footer alone: a zigzag varint of the same length."""

    def varint(number: int) -> bytes:
        number, out = number << 1 ^ number >> 63, b""
        while number > 0x7F:
            out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
        return out + bytes([number])

    content = path.read_bytes()
    (length,) = struct.unpack("<I", content[-8:-4])
    footer = content[-8 - length : -8]
    # Field 3 of FileMetaData: type i64, one behind field 2.
    place = footer.rindex(b"\x16" + varint(rows) + b"\x19")
    changed = footer[: place + 1] + varint(claimed) + footer[place + 1 + len(varint(rows)) :]
    tail = struct.pack("<I", len(changed)) + b"PAR1"
    path.write_bytes(content[: -8 - length] + changed + tail)


@pytest.mark.parametrize("claimed", [-5, 2**50, 76])
def test_a_footer_that_counts_wrongly_is_not_believed(tmp_path: Path, claimed: int) -> None:
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"image": [png(number % 3) for number in range(77)]}), path)
    with_row_count(path, 77, claimed)
    assert pq.read_metadata(path).num_rows == claimed
    with pytest.raises(UserError, match="its footer counts its rows wrongly"):
        rows_of(tmp_path)
    with pytest.raises(UserError, match="its footer counts its rows wrongly"):
        open_pictures(path)


@pytest.mark.parametrize(
    "read", [lambda d: prepare_image(d, 32), lambda d: pixels_to_store(d, 32), stored_pixels]
)
def test_the_limit_of_a_file_holds_for_bytes_too(read: object) -> None:
    with pytest.raises(ImageRefused, match="a file of more than 128 MiB"):
        read(png(0) + bytes(MAX_BYTES))  # type: ignore[operator]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 10**500, 1e308, -(2**70)])
def test_figures_of_other_branches_are_numbers_of_this_world(value: float) -> None:
    assert _value(value) is None


def test_a_device_that_computes_nothing_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINFONCE_DEVICE", "meta")
    with pytest.raises(UserError, match="CLINFONCE_DEVICE=meta is no device of this machine"):
        pick_device()


def test_a_study_s_values_stay_within_their_code() -> None:
    shown = _code("title=`<script>`\n\n# h \x1b[31m\u202e")
    assert shown.count("`") == 2
    assert shown.isprintable()
    assert json.dumps(shown).isascii()


OTHER_IMAGES = {
    "text": pa.array(["/etc/passwd"]),
    "numbers": pa.array([10**13]),
    "lists": pa.array([[1]]),
    "texts in structs": pa.array([{"bytes": "/etc/passwd", "path": "0.png"}]),
    "structs without bytes": pa.array([{"path": "0.png"}]),
}


@pytest.mark.parametrize("images", OTHER_IMAGES.values(), ids=OTHER_IMAGES)
def test_every_file_of_a_data_set_must_hold_images(tmp_path: Path, images: pa.Array) -> None:
    pq.write_table(pa.table({"image": [png(0)], "label": ["a"]}), tmp_path / "train-0.parquet")
    pq.write_table(pa.table({"image": images, "label": ["a"]}), tmp_path / "train-1.parquet")
    with pytest.raises(UserError, match=r"'image' .*train-1.parquet must hold images"):
        rows_of(tmp_path)


@pytest.mark.parametrize("images", [OTHER_IMAGES["text"], OTHER_IMAGES["structs without bytes"], None])
def test_a_table_of_images_that_is_swapped_is_none(tmp_path: Path, images: pa.Array | None) -> None:
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"image": [png(0)], "label": ["a"]}), path)
    params = params_with(ingest={"source": "huggingface", "path": str(tmp_path)}).ingest
    source, pictures = open_source(params, 0), open_pictures(path)
    columns = {"label": ["a"]} | ({} if images is None else {"image": images})
    pq.write_table(pa.table(columns), path)
    # A struct's path names a file, as in any table.
    with suppress(UserError):
        (row,) = source.rows()
        assert isinstance(row, Refusal) or isinstance(row.image, SafePath)
    with suppress(UserError):
        (picture,) = pictures.between(0, 1)
        assert isinstance(picture, Refusal) or isinstance(picture.image, SafePath)


def test_rows_that_vanish_while_they_are_embedded_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"image": [png(0), png(1)]}), path)
    pictures = open_pictures(path)
    pq.write_table(pa.table({"image": [png(0)]}), path)
    with pytest.raises(UserError, match="has fewer rows than when it was opened"):
        list(pictures.between(0, 2))


@pytest.mark.parametrize("stride", [True, 2.0])
def test_a_stride_that_only_equals_one_is_none(stride: Any) -> None:
    with pytest.raises(ValueError, match="the stem's stride must be 1, 2 or 4"):
        build_encoder(Architecture("whitened_patches", stride, 32))


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "^MASTER_ADDR is not set"),
        ({"MASTER_ADDR": "127.0.0.1"}, "^MASTER_PORT is not set"),
        ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "x"}, "^MASTER_PORT=x must be a number"),
        ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "65536"}, "^MASTER_PORT=65536 must be a number"),
    ],
)
def test_a_launcher_that_says_no_meeting_place(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sentence: str
) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "CLINFONCE_DEVICE": "cpu", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=sentence), joined_ranks():
        pass


@pytest.mark.parametrize("address", ["elsewhere://x", "1 " * 3000])
def test_an_address_of_no_ray_cluster(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match="names no Ray cluster") as raised, open_executor(ExecutorName.RAY):
        pass
    assert len(str(raised.value)) < 700


def test_a_fault_of_a_node_s_machine_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    from ray.exceptions import RayTaskError

    from pipeline.executors.ray_cluster import _Pending

    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/made")  # noqa: S108
    raised_there = RayTaskError("made", "a traceback", full).as_instanceof_cause()  # type: ignore[no-untyped-call]

    def refuse(_: object) -> None:
        raise raised_there

    monkeypatch.setattr("ray.get", refuse)
    with pytest.raises(RayTaskError) as raised:
        _Pending(Job(print, (), tmp_path / "made"), None).wait()
    sentence = system_error_message(raised.value)
    assert sentence is not None
    assert sentence.startswith("the machine refuses at /tmp/made")
