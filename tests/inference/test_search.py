"""Exact search: against brute force, by the encoder that made the vectors, and shown without harm."""

import html
import math
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from typer.testing import CliRunner, Result

from inference.conftest import MakeEncoder
from pipeline.cli import app
from pipeline.inference import vectors as vectors_module
from pipeline.inference.search import nearest
from support import png

pytestmark = pytest.mark.slow

HOSTILE = ["[bold]x[/bold]", "<img src=x onerror=alert(1)>", "\x1b[2Jgone", "\u202egnp"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def brute_force(query_D: np.ndarray, vectors_ND: np.ndarray, count: int) -> list[tuple[str, float]]:
    """One row after the other, by whole numbers: the signed square of a cosine is a fraction."""

    def signed_square(vector_D: np.ndarray) -> Fraction:
        left, right = [int(v) for v in query_D], [int(v) for v in vector_D]
        product = sum(a * b for a, b in zip(left, right, strict=True))
        squares = sum(v * v for v in left) * sum(v * v for v in right)
        return Fraction(product * abs(product), squares) if squares else Fraction(0)

    known = [signed_square(vector_D) for vector_D in vectors_ND]
    order = sorted(range(len(known)), key=lambda row: (-known[row], row))
    return [(f"row {row}", math.copysign(abs(known[row]) ** 0.5, known[row])) for row in order[:count]]


def tiles(vectors_ND: np.ndarray, rows: int) -> Iterator[tuple[pa.Array, np.ndarray]]:
    for start in range(0, len(vectors_ND), rows):
        part = vectors_ND[start : start + rows]
        yield pa.array([f"row {start + row}" for row in range(len(part))]), part


# Few values, so that there are equal vectors, zeros and ties across tiles.
VALUES = st.integers(-2, 2).map(np.float32)


@given(
    vectors_ND=hnp.arrays(np.float32, st.tuples(st.integers(0, 30), st.just(3)), elements=VALUES),
    query_D=hnp.arrays(np.float32, 3, elements=VALUES),
    rows=st.integers(1, 8),
    count=st.integers(1, 40),
)
def test_it_is_brute_force(vectors_ND: np.ndarray, query_D: np.ndarray, rows: int, count: int) -> None:
    found = nearest(query_D, tiles(vectors_ND, rows), count)
    expected = brute_force(query_D, vectors_ND, count)
    assert [neighbour.id for neighbour in found] == [name for name, _ in expected]
    assert [neighbour.cosine for neighbour in found] == pytest.approx([cosine for _, cosine in expected])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02d}.png").write_bytes(png(number, 40, 30 + number))
    return folder


@pytest.fixture
def vectors(make_encoder: MakeEncoder, pictures: Path, tmp_path: Path) -> Path:
    path = tmp_path / "vectors.parquet"
    result = run("embed", pictures, "-o", path, "--encoder", make_encoder())
    assert result.exit_code == 0, result.output
    return path


def rows_of(result: Result) -> list[tuple[float, str]]:
    assert result.exit_code == 0, result.output
    return [(float(c), name) for c, name in re.findall(r"^ *\d+ +(-?\d\.\d{4}) +(\S+)", result.stdout, re.M)]


def test_an_image_finds_itself(
    vectors: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors_module, "ROWS_PER_TILE", 5)
    found = rows_of(run("search", pictures / "07.png", "--vectors", vectors, "--count", 5))
    assert found[0] == (1.0, "07.png")
    assert len(found) == 5
    assert found[1][0] < 1
    assert sorted(found, reverse=True) == found
    monkeypatch.chdir(tmp_path)
    assert len(rows_of(run("search", pictures / "07.png"))) == 10
    assert len(rows_of(run("search", pictures / "07.png", "--count", 100))) == 12


def test_another_encoder_is_refused(vectors: Path, pictures: Path, make_encoder: MakeEncoder) -> None:
    moved = make_encoder().rename(vectors.parent / "moved")
    query = ["search", pictures / "01.png", "--vectors", vectors]
    assert run(*query).exit_code == 2
    assert "holds none: name its folder with --encoder" in run(*query).stderr
    assert rows_of(run(*query, "--encoder", moved))[0] == (1.0, "01.png")
    other = make_encoder(seed=1)
    for result in (run(*query), run(*query, "--encoder", other)):
        assert result.exit_code == 2
        assert "holds another one: name its folder with --encoder" in result.stderr
    # The same weights that are fed otherwise give other features.
    config = moved / "config.json"
    config.write_text(config.read_text().replace('"image_size": 32', '"image_size": 30'))
    assert "holds another one" in run(*query, "--encoder", moved).stderr


def test_mistakes_are_reported(vectors: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "other.parquet").write_bytes(b"no Parquet")
    query = pictures / "01.png"
    for arguments, sentence in (
        ([tmp_path / "text.png", "--vectors", vectors], "cannot be searched for (not an image)"),
        ([query, "--vectors", tmp_path / "absent"], "make it with `clinfonce embed SOURCE -o"),
        ([query, "--vectors", tmp_path / "other.parquet"], "(Parquet magic bytes not found"),
        ([query, "--vectors", vectors, "--picture", "x.gif"], "must end in .png or .html"),
    ):
        result = run("search", *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert sentence in result.stderr


@pytest.mark.parametrize("name", ["sheet.png", "sheet.html"])
def test_only_a_sheet_is_replaced_by_a_sheet(
    vectors: Path, pictures: Path, tmp_path: Path, name: str
) -> None:
    query = ["search", pictures / "01.png", "--vectors", vectors, "--picture"]
    for _ in range(2):
        assert run(*query, tmp_path / name).exit_code == 0
    mine = tmp_path / f"mine{Path(name).suffix}"
    mine.write_bytes(png(3))
    notes = tmp_path / "notes.html"
    notes.write_text("<!doctype html><h1>Notes</h1>Today I tried clinfonce search")
    for taken in (mine, notes, pictures / "01.png", pictures / "02.png"):
        before = taken.read_bytes()
        result = run(*query, taken)
        assert result.exit_code == 2
        assert "is there, and `clinfonce search` did not write it: name another file" in result.stderr
        assert taken.read_bytes() == before


@pytest.fixture
def hostile(make_encoder: MakeEncoder, tmp_path: Path) -> Path:
    """Vectors whose ids attack the terminal and the page."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = [{"bytes": png(number, 20, 20), "path": None} for number in range(len(HOSTILE))]
    table = pa.table({"image": pa.array(images, kind), "id": HOSTILE})
    pa.parquet.write_table(table, tmp_path / "hostile.parquet")
    path = tmp_path / "vectors.parquet"
    result = run("embed", tmp_path / "hostile.parquet", "-o", path, "--encoder", make_encoder())
    assert result.exit_code == 0, result.output
    (tmp_path / "query.png").write_bytes(png(2, 20, 20))
    return path


def test_hostile_ids_stay_text_in_the_terminal(hostile: Path, tmp_path: Path) -> None:
    result = run("search", tmp_path / "query.png", "--vectors", hostile)
    assert rows_of(result)[0] == (1.0, r"\x1b[2Jgone")
    assert "[bold]x[/bold]" in result.stdout
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout


def test_hostile_ids_stay_text_in_the_page(hostile: Path, tmp_path: Path) -> None:
    page = tmp_path / "nearest.html"
    assert run("search", tmp_path / "query.png", "--vectors", hostile, "--picture", page).exit_code == 0
    text = page.read_text()
    assert "<img src=x" not in text
    assert html.escape(HOSTILE[1]) in text
    assert text.count('<img src="data:image/png;base64,') == 1 + len(HOSTILE)
    assert not re.search(r"(src|href)=\"(?!data:)", text)


def test_the_sheet_shows_query_and_neighbours(vectors: Path, pictures: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "nearest.png"
    query = ["search", pictures / "03.png", "--vectors", vectors, "--count", 7, "--picture", sheet]
    assert run(*query).exit_code == 0
    with Image.open(sheet) as image:
        whole = np.asarray(image)
    # Eight pictures in rows of six; query and first neighbour show the same.
    assert whole.shape == (2 * (160 + 34 + 12) + 12, 6 * (160 + 12) + 12, 3)
    first, second = (whole[20:160, left : left + 140] for left in (20, 192))
    np.testing.assert_array_equal(first, second)
    assert first.std() > 10
    for path in pictures.glob("*.png"):
        if path.name != "03.png":
            path.unlink()
    result = run(*query)
    assert "6 without their pictures" in result.stdout
    with Image.open(sheet) as image:
        assert np.asarray(image)[100, 12 + 2 * 172 + 5].tolist() == [238] * 3


def test_ids_do_not_lead_out_of_the_folder(vectors: Path, pictures: Path) -> None:
    from pipeline.inference.images.open import open_pictures

    opened = open_pictures(pictures)
    found = opened.find(["01.png", "../vectors.parquet", str(vectors), "02.png/"])
    assert [picture.id for picture in found] == ["01.png"]
