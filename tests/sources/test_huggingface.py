"""Parquet files with an image column, as `datasets` stores them."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.runtime.errors import UserError
from sources.journey import journey, jpeg

pytestmark = pytest.mark.slow

KINDS = ["tops", "shoes", "bags"]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def stored(path: Path, count: int, first: int = 0, **more: tuple[Any, list[Any]]) -> None:
    """By `datasets` itself: images, a ClassLabel, a list of ClassLabels, text, and a nested column."""
    import datasets

    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=KINDS),
            "tags": datasets.List(datasets.ClassLabel(names=["new", "sale"])),
            "colour": datasets.Value("string"),
            "box": {"x": datasets.Value("int32")},
            **{name: feature for name, (feature, _) in more.items()},
        }
    )
    numbers = range(first, first + count)
    columns: dict[str, list[Any]] = {
        "image": [{"bytes": jpeg(n), "path": f"{n:03d}.jpg"} for n in numbers],
        "label": [n % 3 for n in numbers],
        "tags": [[0, 1][: n % 3] for n in numbers],
        "colour": [["red", None, "blue"][n % 3] for n in numbers],
        "box": [{"x": n} for n in numbers],
        **{name: values for name, (_, values) in more.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(columns, features=features).to_parquet(path)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train-00000-of-00001.parquet", "test-00000-of-00001.parquet"),
        ("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
        ("train/0000.parquet", "test/0000.parquet"),
    ],
)
def test_the_layouts_of_the_hub(tmp_path: Path, train: str, test: str) -> None:
    stored(tmp_path / "shop" / train, 12)
    stored(tmp_path / "shop" / test, 6, first=12)
    result = journey(tmp_path, "huggingface", tmp_path / "shop", columns={"hashtags": "tags"})
    assert (len(result.train), len(result.test), result.refused) == (12, 6, {})
    assert result.summary["labels"] == sorted(KINDS)
    assert result.summary["attributes"] == ["colour"]
    assert result.summary["notes"] == ["columns of lists, objects and bytes are no attributes: box"]
    row = result.row(f"{train}#2")
    assert (row["label"], row["hashtags"], row["attributes"]) == ("bags", ["new", "sale"], {"colour": "blue"})
    assert row["image"]["path"] == "002.jpg"
    assert result.cluster("hashtags", top=2)["clusters"] == 3 + 3  # those without a tag stay alone
    assert result.cluster("attributes", columns=["colour"])["mutual_information_bits"] > 1


@pytest.mark.parametrize("folder", ["", "data/"])
def test_a_missing_file_of_a_series_stops_ingest(tmp_path: Path, folder: str) -> None:
    shop = tmp_path / "shop"
    for number in (0, 2):
        stored(shop / f"{folder}train-0000{number}-of-00003.parquet", 6, first=6 * number)
    with pytest.raises(
        UserError, match=rf"shop \(ingest.path\) lacks {folder}train-00001-of-00003.parquet, as the numbers"
    ):
        journey(tmp_path, "huggingface", shop)
    alone = journey(tmp_path, "huggingface", shop / f"{folder}train-00000-of-00003.parquet")
    assert alone.summary["notes"][0] == (
        "train-00000-of-00003.parquet is one of 3 files of a series: the others are not read"
    )
    stored(shop / f"{folder}train-00001-of-00003.parquet", 6, first=6)
    whole = journey(tmp_path / "whole", "huggingface", shop)
    assert len(whole.train + whole.test) == 18


def test_equal_files_of_a_series_are_not_missing(tmp_path: Path) -> None:
    """As in the cache of the Hub, where they are links to one blob."""
    stored(tmp_path / "shop/blob", 6)
    for number in range(2):
        (tmp_path / f"shop/all-0000{number}-of-00002.parquet").symlink_to("blob")
    result = journey(tmp_path, "huggingface", tmp_path / "shop")
    assert len(result.train + result.test) == 6
    assert (
        "not looked at: all-00001-of-00002.parquet (a file that is read already" in result.summary["notes"][0]
    )


def test_one_file_and_a_binary_column(tmp_path: Path) -> None:
    table = pa.table({"img": pa.array([jpeg(n) for n in range(8)], pa.binary()), "kind": ["a", "b"] * 4})
    pq.write_table(table, tmp_path / "all.parquet")
    columns = {"image": "img", "label": "kind"}
    result = journey(tmp_path, "huggingface", tmp_path / "all.parquet", columns=columns, test_fraction=0.25)
    assert (len(result.train), len(result.test), result.summary["labels"]) == (6, 2, ["a", "b"])
    assert result.row("#7")["image"]["path"] == "all.parquet#7"


def test_what_ingest_wrote_can_be_ingested(tmp_path: Path) -> None:
    stored(tmp_path / "shop/train-0.parquet", 12)
    stored(tmp_path / "shop/test-0.parquet", 6, first=12)
    first = journey(tmp_path / "once", "huggingface", tmp_path / "shop")
    again = journey(tmp_path / "twice", "huggingface", tmp_path / "once/images")
    assert [row["label"] for row in again.train] == [row["label"] for row in first.train]
    assert (
        "not looked at, since their names name no split: duplicates.parquet, rejects.parquet"
        in again.summary["notes"]
    )


def test_rows_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "secret.jpg").write_bytes(jpeg(0))
    (tmp_path / "shop/near.jpg").write_bytes(jpeg(1))
    images = [
        {"bytes": jpeg(2), "path": None},
        {"bytes": None, "path": "../secret.jpg"},
        {"bytes": None, "path": "/etc/passwd"},
        {"bytes": None, "path": "near.jpg"},
        {"bytes": None, "path": None},
        None,
        {"bytes": b"no image", "path": "x"},
    ]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array(images, kind)}), tmp_path / "shop/a.parquet")
    result = journey(tmp_path, "huggingface", tmp_path / "shop", test_fraction=0.5)
    assert result.refused == {
        "a.parquet row 1": "the path holds .., which needs ingest.allow_outside_paths=true",
        "a.parquet row 2": "the path is absolute, which needs ingest.allow_outside_paths=true",
        "a.parquet row 4": "the row has no image",
        "a.parquet row 5": "the row has no image",
        "x": "not an image",
    }
    assert {row["id"] for row in result.train + result.test} == {"a.parquet#0", "a.parquet#3"}


def test_classes_that_are_unknown_or_beyond_the_names(tmp_path: Path) -> None:
    import datasets

    kinds = (datasets.ClassLabel(num_classes=3), [-1, 0, 1, 2, 1, 0])
    stored(tmp_path / "shop/all.parquet", 6, label=kinds)
    schema = pq.read_schema(tmp_path / "shop/all.parquet")
    names = schema.metadata[b"huggingface"].replace(b'["0", "1", "2"]', b'["zero", "one"]')
    table = pq.read_table(tmp_path / "shop/all.parquet").replace_schema_metadata({"huggingface": names})
    pq.write_table(table, tmp_path / "shop/all.parquet")
    result = journey(tmp_path, "huggingface", tmp_path / "shop")
    assert result.refused == {"all.parquet row 3": "the class 2 is none of the 2 that the metadata name"}
    labels = {row["id"][-1]: row["label"] for row in result.train + result.test}
    assert labels == {"0": None, "1": "zero", "2": "one", "4": "one", "5": "zero"}


def test_of_a_damaged_row_group_every_row_is_refused(tmp_path: Path) -> None:
    for name, first in (("train-0", 0), ("train-1", 8), ("test-0", 16)):
        stored(tmp_path / f"shop/{name}.parquet", 8, first=first)
    path = tmp_path / "shop/train-0.parquet"
    pq.write_table(pq.read_table(path), path, row_group_size=3, compression="zstd")
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).dictionary_page_offset
    damaged = bytearray(path.read_bytes())
    damaged[start : start + 64] = bytes(64)
    path.write_bytes(damaged)
    result = journey(tmp_path, "huggingface", tmp_path / "shop")
    assert (len(result.train), len(result.test)) == (13, 8)
    assert list(result.refused) == [f"train-0.parquet row {n}" for n in range(3, 6)]
    assert all(reason.startswith("this part of the file is damaged: ") for reason in result.refused.values())


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^ingest.source=huggingface needs ingest.path: set it to a Parquet"):
        journey(tmp_path, "huggingface", None)
    with pytest.raises(
        UserError, match=r"absent \(ingest.path\) does not exist: set ingest.path to a Parquet"
    ):
        journey(tmp_path, "huggingface", tmp_path / "absent")
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "readme.md").write_text("x")
    with pytest.raises(UserError, match=r"expects Parquet files in .*, which holds readme.md"):
        journey(tmp_path, "huggingface", shop)
    stored(shop / "train-0.parquet", 4)
    with pytest.raises(
        UserError, match=r"there is no column 'kind' \(ingest.columns.label\) in the Parquet files of"
    ):
        journey(tmp_path, "huggingface", shop, columns={"label": "kind"})
    with pytest.raises(
        UserError, match=r"'colour' \(ingest.columns.image\) of .* must hold images, .* string"
    ):
        journey(tmp_path, "huggingface", shop, columns={"image": "colour"})
    (shop / "train-1.parquet").write_bytes((shop / "train-0.parquet").read_bytes()[:500])
    with pytest.raises(
        UserError, match=r"train-1.parquet can't be read as Parquet: .*: fix it or download it"
    ):
        journey(tmp_path, "huggingface", shop)
    pq.write_table(pa.table({"image": [b"x"]}), shop / "train-1.parquet")
    with pytest.raises(
        UserError, match=r"train-1.parquet has other columns than .*train-0.parquet \(.*label.*\): name files"
    ):
        journey(tmp_path, "huggingface", shop)


def test_files_may_hold_their_columns_in_another_order(tmp_path: Path) -> None:
    table = pa.table({"image": [jpeg(n) for n in range(4)], "label": list("abab"), "colour": list("rgbr")})
    pq.write_table(table, tmp_path / "0.parquet")
    later = pa.table({"image": [jpeg(n) for n in range(4, 8)], "label": list("abab"), "colour": list("bbbb")})
    pq.write_table(later.select(["colour", "label", "image"]), tmp_path / "1.parquet")
    got = journey(tmp_path, "huggingface", tmp_path, test_fraction=0.5)
    assert (got.refused, got.summary["labels"]) == ({}, ["a", "b"])
    assert got.row("1.parquet#3")["attributes"] == {"colour": "b"}


def test_text_in_place_of_bytes_is_never_opened_as_a_path(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.string()), ("path", pa.string())])
    images = pa.array([{"bytes": "/etc/passwd", "path": "a.jpg"}], kind)
    pq.write_table(pa.table({"image": images}), tmp_path / "a.parquet")
    with pytest.raises(
        UserError, match=r"must hold images, as a binary or a struct of bytes and path, and ho"
    ):
        journey(tmp_path, "huggingface", tmp_path / "a.parquet")


def test_folders_as_hive_names_them_are_columns(tmp_path: Path) -> None:
    for place, number in {"kind=cat": 0, "kind=dog%20small": 4, "kind=__HIVE_DEFAULT_PARTITION__": 8}.items():
        folder = tmp_path / "sets" / place
        folder.mkdir(parents=True)
        images = [jpeg(number + n) for n in range(4)]
        pq.write_table(pa.table({"image": images, "label": ["x", "y"] * 2}), folder / "part-0.parquet")
    result = journey(tmp_path, "huggingface", tmp_path / "sets")
    assert result.summary["attributes"] == ["kind"]
    kinds = Counter(row["attributes"]["kind"] for row in result.train + result.test)
    assert kinds == {"cat": 4, "dog small": 4, None: 4}


def test_a_row_that_contradicts_its_folder_is_refused(tmp_path: Path) -> None:
    for year, number in ((2019, 0), (2020, 4)):
        folder = tmp_path / f"sets/year={year}"
        folder.mkdir(parents=True)
        rows = {"image": [jpeg(number + n) for n in range(4)], "label": ["x", "y"] * 2}
        pq.write_table(pa.table(rows | {"year": [2019, None, 2019, 2019]}), folder / "part-0.parquet")
    result = journey(tmp_path, "huggingface", tmp_path / "sets", max_reject_fraction=0.5)
    where = [f"year=2020/part-0.parquet row {n}" for n in (0, 2, 3)]
    assert result.refused == dict.fromkeys(where, "its folder and its row differ in the column 'year'")
    years = Counter(row["attributes"]["year"] for row in result.train + result.test)
    assert years == {"2019": 4, "2020": 1}


def test_a_split_as_hive_names_it(tmp_path: Path) -> None:
    for split, number in (("train", 0), ("test", 4)):
        folder = tmp_path / f"sets/split={split}"
        folder.mkdir(parents=True)
        images = [jpeg(number + n) for n in range(4)]
        pq.write_table(pa.table({"image": images, "label": ["x", "y"] * 2}), folder / "part-0.parquet")
    result = journey(tmp_path, "huggingface", tmp_path / "sets")
    assert (len(result.train), len(result.test)) == (4, 4)
    assert result.summary["attributes"] == []
