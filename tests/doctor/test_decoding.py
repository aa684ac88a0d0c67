"""What can be read, and how fast."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import features

from doctor.small_project import one, tiny
from pipeline.config.params import Params
from pipeline.doctor import decoding
from pipeline.doctor.base import Situation
from support import at_once, params_with


def test_the_rate_of_ingested_images(ingested: Situation) -> None:
    found = one(decoding.look(ingested), "decoding")
    assert "ingested images a second" in found.found
    assert int(found.found.split(" ")[0].replace(",", "")) > 0


def test_the_rate_of_the_source_before_ingest(folder: Path, manifest: Callable[..., Path]) -> None:
    path = manifest()
    (path.parent / "images" / "000.png").write_bytes(b"no image")
    checks = decoding.look(Situation(tiny(path)))
    assert one(checks, "source").status == "ok"
    assert "1 of 24 refused, 1 as: not an image" in one(checks, "decoding").found


def test_rendered_images_are_measured_too(folder: Path) -> None:
    params = params_with(ingest={"image_size": 16, "synthetic": {"images": 320}})
    (_formats, rate) = decoding.look(Situation(params))
    assert rate.status == "ok"
    assert "images of the source a second" in rate.found


@pytest.mark.parametrize(
    ("column", "output", "cure"),
    [
        ([f"images/{n:03d}.heic" for n in range(24)], "24 end in .heic", "convert these files"),
        (
            [f"photos/{n:03d}.png" for n in range(24)],
            "24 of the first 24 files are not there",
            "move it beside its images",
        ),
        (
            ["images/gone.png", *(f"images/{n:03d}.png" for n in range(1, 24))],
            "1 of the first 24 files are not there, first images/gone.png",
            "ingest lists what it refuses, and stops above 0.01 of all rows",
        ),
    ],
)
def test_files_that_cannot_be_read_are_reported(
    folder: Path, manifest: Callable[..., Path], column: list[str], output: str, cure: str
) -> None:
    found = one(decoding.look(Situation(tiny(manifest(image=column)))), "source")
    assert (found.status, output in found.found, cure in found.cure) == ("warn", True, True)


def test_endings_are_no_kinds_of_files(folder: Path, manifest: Callable[..., Path]) -> None:
    """Ingest reads a file by its content."""
    path = manifest()
    names = [f"images/scan.{n:04d}" for n in range(24)]
    for number, name in enumerate(names):
        (path.parent / "images" / f"{number:03d}.png").rename(path.parent / name)
    rows = path.read_text()
    for number, name in enumerate(names):
        rows = rows.replace(f"images/{number:03d}.png", name)
    path.write_text(rows)
    assert one(decoding.look(Situation(tiny(path))), "source").status == "ok"


def test_many_kinds_of_files_are_listed_shortly(folder: Path, manifest: Callable[..., Path]) -> None:
    endings = ["heic", "svg", "pdf", "dng", "mp4", "jp2", "ico", "tga"]
    path = manifest(image=[f"images/{n:03d}.{endings[n % 8]}" for n in range(24)])
    found = one(decoding.look(Situation(tiny(path))), "source").found
    assert found.count("3 end in .") == 5
    assert "and 3 more" in found


def test_a_manifest_that_is_not_there_fails(folder: Path) -> None:
    params: Params = tiny(Path("nowhere.csv"))
    checks = decoding.look(Situation(params))
    assert (one(checks, "source").status, one(checks, "decoding").status) == ("fail", "fail")


def test_a_pillow_without_jpeg_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: name != "jpg")
    found = one(decoding.look(Situation(None)), "formats")
    assert found.status == "fail"
    assert found.found.endswith("not JPEG")


def test_a_pipe_in_the_source_is_reported(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    os.mkfifo(path)
    params = params_with(ingest={"source": "manifest", "path": str(path)})
    with at_once():
        checks = decoding.look(Situation(params))
    assert (one(checks, "source").status, one(checks, "decoding").status) == ("fail", "fail")
    assert "a pipe, socket or device, not a file" in one(checks, "source").found
