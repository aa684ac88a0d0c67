"""WIDER Attribute in the layout of its authors."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from pipeline.runtime.errors import UserError
from pipeline.sources import wider_attribute
from pipeline.sources.base import Source
from pipeline.sources.registry import open_source
from sources.journey import journey, jpeg, write
from support import params_with

ATTRIBUTES = ["Male", "longHair", "sunglass", "Hat", "T-shirt", "longSleeve", "formal", "shorts", "jeans"]
ATTRIBUTES += ["longPants", "skirt", "faceMask", "logo", "stripe"]
SCENES = {"0": "Parade", "5": "Cheering"}


def person(*answers: int) -> dict[str, Any]:
    return {"attribute": [*answers, *[0] * (14 - len(answers))], "bbox": [1.5, 2.0, 3.0, 4.0]}


def image(n: int, folder: str, people: list[dict[str, Any]]) -> dict[str, Any]:
    place = ["0--Parade/0_Parade_marchingband_1", "5--Cheering/5_Cheering_Cheering_5"][n % 2]
    return {"file_name": f"{folder}/{place}_{n}.jpg", "scene_id": [0, 5][n % 2], "targets": people}


TRAINVAL = [
    image(n, "val" if n % 5 == 4 else "train", [person(1, -1), person(-1, 0, [1, -1][n % 2], 0)])
    for n in range(12)
]
TEST = [image(n, "test", [person(1)]) for n in range(12, 16)]


def photographs(folder: Path, trainval: list[Any], place: str = "") -> Path:
    maps = {"attribute_id_map": {str(n): a for n, a in enumerate(ATTRIBUTES)}, "scene_id_map": SCENES}
    files: dict[str, str | bytes] = {
        f"{place}wider_attribute_{name}.json": json.dumps({"images": images} | maps)
        for name, images in {"trainval": trainval, "test": TEST}.items()
    }
    for n, entry in enumerate(TRAINVAL + TEST):
        files[f"Image/{entry['file_name']}"] = jpeg(n)
    return write(folder, files)


def source_of(folder: Path) -> Source:
    return open_source(params_with(ingest={"source": "wider_attribute", "path": str(folder)}).ingest, 0)


@pytest.mark.parametrize("place", ["", "wider_attribute_annotation/"])
def test_the_official_layout(tmp_path: Path, place: str) -> None:
    result = journey(tmp_path, "wider_attribute", photographs(tmp_path / "wider", TRAINVAL, place))
    assert (len(result.train), len(result.test), result.refused) == (12, 4, {})
    assert result.summary["labels"] == ["Cheering", "Parade"]
    assert result.summary["attributes"] == ATTRIBUTES
    assert result.row("_Parade_marchingband_1_4.jpg")["id"].startswith("val/")


def test_the_rule_from_persons_to_images(tmp_path: Path) -> None:
    """Any person has it: yes; some lack it and none has it: no; nobody says: not known."""
    result = journey(tmp_path, "wider_attribute", photographs(tmp_path / "wider", TRAINVAL))
    output = result.row("_Cheering_5_1.jpg")["attributes"]
    assert [output[name] for name in ATTRIBUTES[:4]] == ["yes", "no", "no", None]
    assert result.row("_marchingband_1_2.jpg")["attributes"]["sunglass"] == "yes"
    statistics = result.cluster("attributes", top=1, label_columns="keep")
    assert statistics["notes"] == ["joined sunglass=yes"]
    assert statistics["conditional_entropy_bits"] == pytest.approx(0.0)


def test_entries_that_are_refused(tmp_path: Path) -> None:
    hostile = [
        {"file_name": "../secret.jpg", "scene_id": 0, "targets": []},
        {"file_name": "/etc/passwd", "scene_id": 0, "targets": []},
        {"file_name": "train/absent.jpg", "scene_id": 0, "targets": []},
        {"file_name": "train/short.jpg", "scene_id": 0, "targets": [{"attribute": [1]}]},
        {"file_name": "train/short.jpg", "scene_id": 0, "targets": [person(float("inf"))]},  # type: ignore[arg-type]
        {"file_name": 5, "scene_id": 0, "targets": []},
        "no entry",
        {"file_name": "train/\ud800.jpg", "scene_id": 0, "targets": []},
        TRAINVAL[0],
    ]
    folder = photographs(tmp_path / "wider", [*TRAINVAL, *hostile])
    (folder / "secret.jpg").write_bytes(jpeg(3))
    result = journey(tmp_path, "wider_attribute", folder)
    where, none = "wider_attribute_trainval.json image", "not an entry with file_name, scene_id and targets"
    assert result.refused == {
        f"{where} 13": "the path holds .., which needs ingest.allow_outside_paths=true",
        f"{where} 14": "the path is absolute, which needs ingest.allow_outside_paths=true",
        "train/absent.jpg": "the file does not exist",
        f"{where} 16": f"{none} as published",
        f"{where} 17": f"{none} as published",
        f"{where} 18": f"{none} as published",
        f"{where} 19": f"{none} as published",
        f"{where} 20": "the path is not UTF-8 text",
        f"{where} 21": "an earlier row has the same image",
    }
    assert len(result.train) == 12


def test_a_table_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "wider", TRAINVAL)
    for name in ("test", "trainval"):
        with (folder / f"wider_attribute_{name}.json").open("r+b") as file:
            file.truncate(1 << 30)
        tracemalloc.start()
        with pytest.raises(UserError, match=rf"wider_attribute_{name}.json is larger than 32 MiB: take the"):
            source_of(folder)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 1 << 20


def test_a_table_of_the_largest_size_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = photographs(tmp_path / "wider", TRAINVAL)
    largest = (folder / "wider_attribute_trainval.json").stat().st_size
    monkeypatch.setattr(wider_attribute, "LARGEST_TABLE", largest)
    assert len(list(source_of(folder).rows())) == 16
    monkeypatch.setattr(wider_attribute, "LARGEST_TABLE", largest - 1)
    with pytest.raises(UserError, match="is larger than"):
        source_of(folder)


@pytest.mark.parametrize(
    ("content", "readable"),
    [
        (b"\xef\xbb\xbf%b", True),
        (b" \n%b\r\n", True),
        (b"%b\0", False),
        (b"%b\xff", False),
        (b"[" * 100_000, False),
        (b'{"images": [], "images": ' + b"9" * 5000 + b"}", False),
        (b"", False),
    ],
    ids=["bom", "blank", "nul", "not-utf8", "deep", "digits", "empty"],
)
def test_contents_of_a_table(tmp_path: Path, content: bytes, readable: bool) -> None:
    folder = photographs(tmp_path / "wider", TRAINVAL)
    table = folder / "wider_attribute_test.json"
    table.write_bytes(content.replace(b"%b", table.read_bytes()))
    if readable:
        assert len(list(source_of(folder).rows())) == 16
    else:
        with pytest.raises(UserError, match="must be JSON with images, attribute_id_map and scene_id_map"):
            source_of(folder)


def test_layouts_that_are_none(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "wider", TRAINVAL)
    with pytest.raises(UserError, match=r"expects Image or .* in .*, which holds test/, train/, val/"):
        journey(tmp_path, "wider_attribute", folder / "Image")
    for broken in ("[]", '{"images": 3}', "no JSON"):
        (folder / "wider_attribute_test.json").write_text(broken)
        with pytest.raises(
            UserError, match=r"wider_attribute_test.json must be JSON with images, attribute_id"
        ):
            journey(tmp_path, "wider_attribute", folder)
    (folder / "wider_attribute_test.json").unlink()
    with pytest.raises(
        UserError, match=r"expects wider_attribute_test.json or wider_attribute_annotation/wid"
    ):
        journey(tmp_path, "wider_attribute", folder)
