"""Whatever strangers send ends in the images or among the refusals, soon, and in little memory."""

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ingest.hostile import FILES, PLACES, Case
from pipeline.config.ingest import IngestParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.ingest.decoding import FORMATS, ImageRefused
from pipeline.ingest.prepare import prepare_image
from pipeline.ingest.run import ingest
from pipeline.runtime.errors import UserError
from pipeline.sources.registry import open_source
from pipeline.storage.schema import Layout
from support import REPOSITORY, params_with, png

pytestmark = pytest.mark.slow

CASES = FILES | PLACES
SIZE = 96
MOST_SECONDS = 5
MOST_MEBIBYTES = 1024


def peak_mebibytes() -> float:
    """Of this program. `ru_maxrss` would begin with what its parent held, which survives the exec."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def child(folder: Path) -> None:
    """Prepares each file as a worker would, and prints a line of JSON before and one after."""
    for name in CASES:
        print(json.dumps({"begun": name}), flush=True)
        started = time.process_time()
        try:
            prepared = prepare_image(folder / name, SIZE, look=True)
            outcome: dict[str, Any] = {"reason": None, "size": [prepared.width, prepared.height]}
            (folder / f"{name}.stored").write_bytes(prepared.encoded)
        except ImageRefused as refused:
            outcome = {"reason": str(refused)}
        outcome["seconds"] = time.process_time() - started
        outcome["mebibytes"] = peak_mebibytes()
        print(json.dumps({"ended": name, **outcome}), flush=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("hostile")
    for name, case in CASES.items():
        case.make(folder / name)
    yield folder
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[str, dict[str, Any]]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])}
    command = [sys.executable, "-W", "error", __file__, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"{lines[-1:]}\n{done.stderr}"
    return {line["ended"]: line for line in lines if "ended" in line}


def test_there_are_enough() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("name", CASES)
def test_it_is_taken_or_refused_with_its_reason(
    name: str, outcomes: dict[str, dict[str, Any]], folder: Path
) -> None:
    case: Case = CASES[name]
    outcome = outcomes[name]
    assert outcome["seconds"] < MOST_SECONDS
    # The most of this file and of all before it.
    assert outcome["mebibytes"] < MOST_MEBIBYTES
    if case.reason is None:
        assert outcome["reason"] is None
        with Image.open(folder / f"{name}.stored") as stored:
            assert (stored.mode, list(stored.size)) == ("RGB", outcome["size"])
            assert stored.format in ("JPEG", "PNG")
            assert not stored.getexif()
            stored.load()
    else:
        assert outcome["reason"] is not None
        assert re.search(case.reason, outcome["reason"])
        assert outcome["reason"].isprintable()


def test_nothing_but_pixels_is_stored(folder: Path, outcomes: dict[str, dict[str, Any]]) -> None:
    for name in (
        "zip-behind.jpg",
        "script-inside.jpg",
        "zip-behind.png",
        "gps.jpg",
        "second-picture-behind.jpg",
    ):
        stored = (folder / f"{name}.stored").read_bytes()
        assert outcomes[name]["reason"] is None
        assert not any(word in stored for word in (b"payload", b"php", b"Exif", b"PK\x03\x04"))
        assert len(stored) <= (folder / name).stat().st_size


def test_turned_images_are_upright(folder: Path, outcomes: dict[str, dict[str, Any]]) -> None:
    upright = np.asarray(Image.open(folder / "orientation-1.jpg.stored"), np.int64)
    for orientation in range(2, 9):
        with Image.open(folder / f"orientation-{orientation}.jpg") as image:
            turned = image.getexif()[0x0112]
        assert turned == orientation
        height, width = upright.shape[:2]
        expected = [width, height] if orientation < 5 else [height, width]
        assert outcomes[f"orientation-{orientation}.jpg"]["size"] == expected


@pytest.mark.parametrize("size", [(4000, 3000), (60, 50)])
def test_transparency_in_strips_is_that_in_one_piece(size: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    image = Image.fromarray(generator.integers(0, 256, (30, 40, 4), np.uint8)).resize(size)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    prepared = prepare_image(buffer.getvalue(), 50)
    white = Image.alpha_composite(Image.new("RGBA", size, "white"), image).convert("RGB")
    width, height = prepared.width, prepared.height
    expected = (
        white
        if size == (60, 50)
        else white.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    )
    stored = np.asarray(Image.open(io.BytesIO(prepared.encoded)))
    np.testing.assert_array_equal(stored, np.asarray(expected))


def test_only_formats_that_people_have_are_decoded() -> None:
    assert set(FORMATS) == {"JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF"}


# --- rows ---------------------------------------------------------------------------------------------------

ROWS: list[tuple[bytes, str | None]] = [
    (b"plain.png,cat,train,a;b", None),
    (b"conflict-a.png,cat,train,", None),
    (b"conflict-b.png,dog,train,", None),
    (b"long-tag.png,cat,test,#" + b"x" * 5000, None),
    ("bidi.png,\u202egnp.tac\u202c,test,\u200bzero\u200bwidth".encode(), None),
    (b"formula.png,=HYPERLINK(1),train,@SUM(A1)", None),
    (b"markup.png,<script>alert(1)</script>,train,[red]x[/red]", None),
    (b'line.png,"two\nlines",train,', None),
    (b"plain.png,dog,train,", "an earlier row has the same image"),
    (b"no-split.png,cat,,", "the split is"),
    (b"other-split.png,cat,elsewhere,", "the split is"),
    (b",cat,train,", "is empty"),
    (b"bytes-\xff\xfe.png,cat,train,", "not UTF-8"),
    (b"many.png,cat,train,a,b,c,d", "not a row of the table"),
    (b"absent.png,cat,train,", "does not exist"),
    (b"n\0ul.png,cat,train,", "null byte|not a row"),
    (b"x" * 5000 + b".png,cat,train,", "the path is too long"),
    (b"plain.png/inside.png,cat,train,", "does not exist"),
]


def test_every_row_is_in_the_images_or_among_the_refusals(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "manifest.csv").write_bytes(b"image,label,split,hashtags\n" + b"\n".join(r for r, _ in ROWS))
    taken = [row.split(b",")[0].decode() for row, reason in ROWS if reason is None]
    for number, name in enumerate(taken):
        (source / name).write_bytes(png(1 if name.startswith("conflict") else number + 2))
    params = params_with(
        ingest={"source": "manifest", "path": str(source / "manifest.csv"), "max_reject_fraction": 1.0}
    )
    summary = ingest(params.ingest, 0, Layout(tmp_path))
    rejects = pq.read_table(tmp_path / "images/rejects.parquet").to_pylist()
    assert sum(summary["images"].values()) + len(rejects) == len(ROWS)
    stored = [
        i
        for s in ("train", "test")
        for i in ImageSplit(tmp_path / "images", s).columns(["id"])["id"].to_pylist()
    ]
    assert sorted(stored) == sorted(taken)
    for reject, reason in zip(rejects, [reason for _, reason in ROWS if reason is not None], strict=True):
        assert re.search(reason, reject["reason"]), reject
    assert summary["duplicates"] == 1


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 2000),
)
def test_a_damaged_table_is_told_in_a_sentence(
    tmp_path: Path, changes: list[tuple[int, int]], cut: int
) -> None:
    """Which the fuzzer found: a footer that is none, and names that are not UTF-8."""
    buffer = io.BytesIO()
    pq.write_table(pa.table({"image": ["a.png", None], "label": ["cat", "dog"], "tags": [["a"], []]}), buffer)
    content = bytearray(buffer.getvalue())
    for place, value in changes:
        content[place % len(content)] = value
    path = tmp_path / "manifest.parquet"
    path.write_bytes(content[: cut + 1] if cut % 4 == 0 else content)
    params = IngestParams.model_validate({"source": "manifest", "path": str(path)})
    with suppress(UserError):
        list(open_source(params, 0).rows())


@pytest.mark.skipif(
    "allow_outside_paths" not in IngestParams.model_fields, reason="paths are let out by every source"
)
def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (tmp_path / "secret.png").write_bytes(png(1))
    (source / "link.png").symlink_to(tmp_path / "secret.png")
    (source / "a.png").write_bytes(png(2))
    (source / "manifest.csv").write_text("image\nlink.png\na.png\n../secret.png\n")
    params = params_with(
        ingest={"source": "manifest", "path": str(source / "manifest.csv"), "max_reject_fraction": 1.0}
    )
    summary = ingest(params.ingest, 0, Layout(tmp_path))
    assert (sum(summary["images"].values()), summary["rejected"]) == (1, 2)


if __name__ == "__main__":
    child(Path(sys.argv[1]))
