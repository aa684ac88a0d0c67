"""Pictures that end a decoder, or take too much memory, cost `embed` and `search` a refusal."""

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from inference.conftest import MakeEncoder
from ingest.costly import tiff_of_one_tile
from pipeline.inference.embed import embed
from pipeline.inference.embedder import Request
from pipeline.inference.images import decode as decoding
from pipeline.inference.images.base import InputImage
from pipeline.inference.search import search
from pipeline.runtime.console import terminal
from pipeline.runtime.errors import UserError
from pipeline.untrusted.isolation.limits import CRASHED, TOO_LARGE
from support import png
from untrusted import victims

pytestmark = pytest.mark.slow

IMAGES = 20
KILLERS = ["killer-0.png", "killer-1.png"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(IMAGES):
        (folder / f"{number:02d}.png").write_bytes(png(number, 40, 30))
    return folder


def vectors_of(path: Path) -> dict[str, list[float]]:
    table = pq.read_table(path)
    return dict(zip(table.column("id").to_pylist(), table.column("vector").to_pylist(), strict=True))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_embed(
    make_encoder: MakeEncoder, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    monkeypatch.setenv("CLINFONCE_WORKERS", workers)
    encoder, console = make_encoder(), terminal(quiet=True)
    embed(Request(pictures, None, None, encoder, 4), tmp_path / "before.parquet", console)
    for name in KILLERS:
        (pictures / name).write_bytes(png(99, 40, 30))
    (pictures / "large.tif").write_bytes(tiff_of_one_tile())
    monkeypatch.setattr(decoding, "squares", victims.squares_or_die)
    embed(Request(pictures, None, None, encoder, 4), tmp_path / "after.parquet", console)

    before, after = vectors_of(tmp_path / "before.parquet"), vectors_of(tmp_path / "after.parquet")
    assert list(after) == list(before) == [f"{number:02d}.png" for number in range(IMAGES)]
    np.testing.assert_array_equal(list(after.values()), list(before.values()))
    with (tmp_path / "after.parquet.rejects.csv").open() as file:
        refused = {row["where"]: row["reason"] for row in csv.DictReader(file)}
    assert refused == dict.fromkeys(KILLERS, CRASHED) | {"large.tif": TOO_LARGE}


def test_search(
    make_encoder: MakeEncoder, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / KILLERS[0]).write_bytes(png(0, 40, 30))
    vectors, sheet = tmp_path / "vectors.parquet", tmp_path / "sheet.png"
    embed(Request(pictures, None, None, make_encoder(), 4), vectors, terminal(quiet=True))

    query = tmp_path / "large.tif"
    query.write_bytes(tiff_of_one_tile())
    with pytest.raises(UserError, match=f"large.tif cannot be searched for .{TOO_LARGE}.: name a picture"):
        search(query, vectors, 3, None, None, terminal(quiet=True))

    # Among the nearest are one that ends its process, and one that is too large by now.
    (pictures / "00.png").write_bytes(query.read_bytes())
    monkeypatch.setattr(decoding, "whole", victims.whole_or_die)
    query = tmp_path / "query.png"
    query.write_bytes(png(0, 40, 30))
    search(query, vectors, 3, None, sheet, terminal(quiet=True))
    with Image.open(sheet) as image:
        step = 160 + 12
        shown = [image.getpixel((12 + place * step + 80, 12 + 20)) for place in range(4)]
    assert [pixel == (238, 238, 238) for pixel in shown] == [False, True, True, False]


@pytest.mark.parametrize("function", ["squares", "whole"])
def test_a_process_that_dies_of_no_image_ends_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    monkeypatch.setattr(decoding, function, victims.between)
    with decoding.decoder() as opened, pytest.raises(UserError, match="was killed several times, by none of"):
        list(getattr(opened, function)([InputImage("a", png(0))], 32))
