import unicodedata
from pathlib import Path

import pytest

from pipeline.ingest.decoding import ImageRefused
from pipeline.ingest.prepare import prepare_image
from pipeline.untrusted.safe_paths import Boundary, Root, SafePath
from pipeline.untrusted.similar_paths import why_missing
from pipeline.untrusted.unsafe_path import MISSING

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Müller.png") for form in ("NFC", "NFD"))


@pytest.fixture
def root(tmp_path: Path) -> Root:
    for name in (
        "images/Up/A.JPG",
        "images/at 5.00\u202fPM.png",
        f"images/{DECOMPOSED}",
        "images/straße.png",
        "images/Up/notes.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return Root(tmp_path, Boundary.around(tmp_path, "set an option"))


@pytest.mark.parametrize(
    ("member", "difference"),
    [
        ("images/up/a.jpg", "in other capitals"),
        ("images/Up/a.jpg", "in other capitals"),
        ("images\\Up\\A.JPG", "with / in place of \\"),
        ("images\\up\\A.JPG", "with / in place of \\ and in other capitals"),
        ("'images/Up/A.JPG'", "without the quotes"),
        ('"images/Up/A.JPG"', "without the quotes"),
        (f"images/{COMPOSED}", "in another form of Unicode (NFC or NFD)"),
        (f"images/{COMPOSED.upper()}", "in other capitals"),
        ("images/STRASSE.png", "in other capitals"),
        ("images/Up/\u200eA.JPG", "with other invisible characters or blanks (U+200E)"),
        (
            "images/Up/\u202aa.JPG\u202c",
            "with other invisible characters or blanks (U+202A, U+202C) and in other capitals",
        ),
        ("images/at 5.00 PM.png", "with other invisible characters or blanks (U+202F)"),
        (
            "images/at 5.00\u00a0pm.png",
            "with other invisible characters or blanks (U+00A0, U+202F) and in other capitals",
        ),
        ("images/Up/A", "with the ending .JPG"),
        ("images/Up/A.png", "with the ending .JPG"),
        ("images/up/a", "in other capitals and with the ending .JPG"),
        ("images/STRASSE", "with the ending .png and in other capitals"),
        ("images\\Up\\A", "with / in place of \\ and with the ending .JPG"),
    ],
)
def test_a_file_that_is_written_in_another_way_is_found(root: Root, member: str, difference: str) -> None:
    assert why_missing(root.at(member)) == f"the file does not exist, but one {difference} does"


@pytest.mark.parametrize(
    "member",
    [
        "images/up/b.jpg",
        "images/Up/notes",
        "images/Up.jpg",
        "images\\none.png",
        "pictures/Up/A.JPG",
        "'",
        "x'/y",
    ],
)
def test_nothing_is_guessed(root: Root, member: str) -> None:
    assert why_missing(root.at(member)) == MISSING


@pytest.mark.parametrize("member", ["https://example.org/a.jpg", "s3://bucket/a.jpg", "file:///home/a.jpg"])
def test_an_address_is_named_as_one(root: Root, member: str) -> None:
    assert why_missing(root.at(member)).startswith("an address, not the path of a file")


def test_no_name_outside_of_the_boundary_is_looked_at(root: Root, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "Secret.png").touch()
    (tmp_path / "images/way").symlink_to(outside)
    assert why_missing(root.at("images/way/secret.png")) == MISSING
    for name in (f"..\\{outside.name}\\secret.png", f"images\\..\\..\\{outside.name}\\Secret.png"):
        assert why_missing(root.at(name)) == MISSING
    without_boundary = SafePath(tmp_path / "images/way/secret.png")
    assert why_missing(without_boundary).endswith("in other capitals does")


def test_a_refused_image_says_so(root: Root) -> None:
    with pytest.raises(ImageRefused, match="but one in other capitals does"):
        prepare_image(root.at("images/up/a.jpg"), 32)


def test_a_file_that_comes_later_is_found(root: Root, tmp_path: Path) -> None:
    assert why_missing(root.at("images/late.png")) == MISSING
    (tmp_path / "images/LATE.png").touch()
    assert why_missing(root.at("images/late.png")).endswith("in other capitals does")
