"""CUB-200-2011 in the layout of its authors."""

import tracemalloc
from pathlib import Path

import pytest

from pipeline.runtime.errors import UserError
from pipeline.sources.base import SourceRow
from pipeline.sources.registry import open_source
from pipeline.tables.lines import LONGEST_LINE
from sources.journey import journey, jpeg, write
from support import params_with

ATTRIBUTES = ["has_bill_shape::curved_(up_or_down)", "has_wing_color::blue", "has_wing_color::brown"]
CLASSES = ["001.Black_footed_Albatross", "002.Laysan_Albatross"]
IMAGES = 12


def answers() -> list[str]:
    """Bird i has attribute 1 if i is odd, 2 if it is among the first half, 3 never. Four ways to be sure."""
    lines = []
    for image in range(1, IMAGES + 1):
        for attribute, present in enumerate((image % 2, image <= IMAGES // 2, 0), start=1):
            certainty = 1 if (image, attribute) in {(1, 1), (2, 1)} else 2 + image % 3
            lines.append(f"{image} {attribute} {int(present)} {certainty} {image}.5")
    return lines


def birds(folder: Path, *, attributes_at: str = "attributes.txt", inner: str = "CUB_200_2011/") -> Path:
    names = {n: f"{CLASSES[n % 2]}/{CLASSES[n % 2][4:]}_{n:04d}_{n * 7}.jpg" for n in range(1, IMAGES + 1)}
    files: dict[str, str | bytes] = {
        "images.txt": "".join(f"{n} {name}\n" for n, name in names.items()),
        "classes.txt": "".join(f"{n} {name}\n" for n, name in enumerate(CLASSES, start=1)),
        "image_class_labels.txt": "".join(f"{n} {n % 2 + 1}\n" for n in names),
        "train_test_split.txt": "".join(f"{n} {int(n % 4 != 0)}\n" for n in names),
        "attributes/image_attribute_labels.txt": "\n".join(answers()) + "\n",
        "attributes/certainties.txt": "1 not visible\n2 guessing\n3 probably\n4 definitely\n",
    }
    files |= {f"images/{name}": jpeg(n) for n, name in names.items()}
    write(folder, {inner + name: content for name, content in files.items()})
    table = "".join(f"{n} {name}\n" for n, name in enumerate(ATTRIBUTES, start=1))
    return write(folder, {attributes_at: table})


@pytest.mark.parametrize(
    ("attributes_at", "inner", "below"),
    [
        ("attributes.txt", "CUB_200_2011/", ""),
        ("attributes.txt", "CUB_200_2011/", "CUB_200_2011"),
        ("CUB_200_2011/attributes/attributes.txt", "CUB_200_2011/", ""),
        ("attributes.txt", "", ""),
    ],
)
def test_the_official_layout(tmp_path: Path, attributes_at: str, inner: str, below: str) -> None:
    folder = birds(tmp_path / "cub", attributes_at=attributes_at, inner=inner)
    result = journey(tmp_path, "cub200", folder / below)
    assert (len(result.train), len(result.test), result.refused) == (9, 3, {})
    assert result.summary["labels"] == CLASSES
    assert result.summary["attributes"] == ATTRIBUTES
    row = result.row("_0003_21.jpg")
    assert row["id"] == row["image"]["path"] == "002.Laysan_Albatross/Laysan_Albatross_0003_21.jpg"
    assert (row["label"], row["width"], row["height"]) == ("002.Laysan_Albatross", 20, 16)
    assert row["attributes"] == dict(zip(ATTRIBUTES, ["yes", "yes", "no"], strict=True))
    assert result.row("_0004_28.jpg") in result.test


def test_what_was_not_visible_is_not_known(tmp_path: Path) -> None:
    result = journey(tmp_path, "cub200", birds(tmp_path / "cub"))
    cells = [result.row(f"_{n:04d}_{n * 7}.jpg")["attributes"][ATTRIBUTES[0]] for n in range(1, 6)]
    assert cells == [None, None, "yes", "no", "yes"]


def test_clusters_join_the_binary_attributes_of_highest_entropy(tmp_path: Path) -> None:
    result = journey(tmp_path, "cub200", birds(tmp_path / "cub"))
    statistics = result.cluster("attributes", top=2)
    # Of 9 train birds 5 have the second attribute, and 5 of the 6 odd ones are known to have the first.
    assert statistics["notes"] == [f"joined {ATTRIBUTES[0]}=yes, {ATTRIBUTES[1]}=yes"]
    assert statistics["clusters"] == 4
    with pytest.raises(UserError, match="more than the 2 values that differ"):
        result.cluster("attributes", top=3)


def test_published_lines_with_more_columns_are_read(tmp_path: Path) -> None:
    folder = birds(tmp_path / "cub")
    table = folder / "CUB_200_2011/attributes/image_attribute_labels.txt"
    lines = answers()
    lines[0] = "1 1 1 4 0 8.2"
    lines[1] = "1 2 x 4 8.2"
    lines[2] = "99 3 1 4 8.2"
    table.write_text("\n".join(lines))
    result = journey(tmp_path, "cub200", folder)
    assert result.row("_0001_7.jpg")["attributes"] == dict(zip(ATTRIBUTES, ["yes", None, None], strict=True))
    assert result.summary["notes"] == [
        "2 lines of image_attribute_labels.txt say nothing of a known image and attribute, the first of them "
        "line 2: what they were about stays unknown",
        "all test images have one label: an encoder that knows nothing would reach 100 %",
    ]


LONG = b"x" * (LONGEST_LINE + 1)
LINES = {
    "long": LONG,
    "long-words": b"1 " * (LONGEST_LINE // 2 + 1),
    "long-blank": b" " * (LONGEST_LINE + 1),
    "long-behind-an-answer": b"1 2 0 4 " + LONG,
    "not-utf8": b"\xff\xfe 2 0 4",
    "nul": b"1\x00 2 0 4",
    "digits": b"1 2 0 " + b"9" * 5000,
    "few": b"1 2 0",
}


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_line_of_answers_costs_itself(tmp_path: Path, line: bytes, end: bytes) -> None:
    folder = birds(tmp_path / "cub")
    table = folder / "CUB_200_2011/attributes/image_attribute_labels.txt"
    table.write_bytes(end.join([b"1 1 1 4", b"", line, b"1 3 0 4", b""]))
    source = open_source(params_with(ingest={"source": "cub200", "path": str(folder)}).ingest, 0)
    first = next(iter(source.rows()))
    assert isinstance(first, SourceRow)
    assert [*first.attributes.values()] == ["yes", None, "no"]
    (note,) = source.notes
    assert note.startswith("1 lines of image_attribute_labels.txt say nothing of a known image")
    assert "the first of them line 3" in note


def test_answers_without_a_line_s_end_are_not_held(tmp_path: Path) -> None:
    folder = birds(tmp_path / "cub")
    with (folder / "CUB_200_2011/attributes/image_attribute_labels.txt").open("r+b") as file:
        file.truncate(1 << 27)
    source = open_source(params_with(ingest={"source": "cub200", "path": str(folder)}).ingest, 0)
    tracemalloc.start()
    rows = list(source.rows())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows) == IMAGES
    assert most < 8 * LONGEST_LINE


def test_images_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    folder = birds(tmp_path / "cub")
    home = folder / "CUB_200_2011"
    with (home / "images.txt").open("ab") as file:
        file.write(
            b"13 ../../secret.jpg\n14 /etc/passwd\n15 a/none.jpg\n16\n17 a/no_split.jpg\n18 caf\xe9.jpg\n"
        )
    with (home / "train_test_split.txt").open("a") as file:
        file.write("13 1\n14 1\n15 0\n16 1\n18 1\n")
    (folder / "secret.jpg").write_bytes(jpeg(99))
    result = journey(tmp_path, "cub200", folder)
    assert result.refused == {
        "images.txt line 13": "the path holds .., which needs ingest.allow_outside_paths=true",
        "images.txt line 14": "the path is absolute, which needs ingest.allow_outside_paths=true",
        "a/none.jpg": "the file does not exist",
        "images.txt line 16": "the line is not an image's number and name",
        "images.txt line 17": "train_test_split.txt does not say train (1) or test (0) of it",
        "images.txt line 18": "the line is not UTF-8 text",
    }
    assert len(result.train) + len(result.test) == IMAGES


@pytest.mark.parametrize(
    ("removed", "sentence"),
    [
        (
            "classes.txt",
            r"expects classes.txt in .*CUB_200_2011 \(ingest.path\), which holds attributes/, im",
        ),
        ("attributes/image_attribute_labels.txt", "expects attributes/image_attribute_labels.txt in"),
        ("../attributes.txt", "expects attributes/attributes.txt or attributes.txt or ../attributes.txt in"),
    ],
)
def test_what_is_missing_is_reported(tmp_path: Path, removed: str, sentence: str) -> None:
    folder = birds(tmp_path / "cub")
    (folder / "CUB_200_2011" / removed).unlink()
    with pytest.raises(UserError, match=sentence):
        journey(tmp_path, "cub200", folder)
    assert not (tmp_path / "images").exists()


def test_a_path_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^ingest.source=cub200 needs ingest.path: set it to the folder that"
    ):
        journey(tmp_path, "cub200", None)
    with pytest.raises(
        UserError, match=r"absent \(ingest.path\) does not exist: set ingest.path to the fold"
    ):
        journey(tmp_path, "cub200", tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"expects images.txt in .*, which holds nothing"):
        journey(tmp_path, "cub200", tmp_path / "empty")
