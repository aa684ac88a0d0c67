"""What holds for the rows and files of every source."""

from pathlib import Path

import pytest

from pipeline.sources.base import Refusal, SourceRow
from pipeline.sources.reading.row_checks import checked
from pipeline.sources.reading.split_names import by_split, split_of_cell, split_word
from pipeline.tables.records import HALF_CHARACTER
from pipeline.untrusted.safe_paths import SafePath


def test_ids_stand_once_and_text_is_text() -> None:
    rows: list[SourceRow | Refusal] = [
        SourceRow("a", b"", "a.jpg"),
        SourceRow("a", b"", "again.jpg", where="m.csv line 3"),
        SourceRow("b", b"", "b.jpg", label="\udce9"),
        SourceRow("c", b"", "c\udce9.jpg"),
        SourceRow("d", b"", "d.jpg", attributes={"colour": "\ud800"}),
        Refusal("\udce9", "it"),
        SourceRow("e", b"", "e.jpg", label="café"),
    ]
    assert list(checked(rows)) == [
        rows[0],
        Refusal("m.csv line 3", "an earlier row has the same image"),
        Refusal("b.jpg", "the line is not UTF-8 text"),
        Refusal("c\\udce9.jpg", "the name of the file is not UTF-8: rename it"),
        Refusal("d.jpg", HALF_CHARACTER),
        Refusal("\\udce9", "it"),
        rows[6],
    ]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("train-00000-of-00004.parquet", "train"),
        ("Validation", "validation"),
        ("test.tar", "test"),
        ("train2017", "train"),
        ("trainers-0.tar", None),
        ("00000.tar", None),
        ("latest.parquet", None),
        ("mnist-train_01", "train"),
        ("partial-TEST", "test"),
        ("trainImages", "train"),
        ("split=val", "val"),
        ("non-train", None),
        ("train-test", None),
    ],
)
def test_words_for_splits(name: str, word: str | None) -> None:
    assert split_word(name) == word


@pytest.mark.parametrize(
    ("cell", "split"),
    [
        ("Train", "train"),
        (" TEST_01 ", "test"),
        ("val set", "validation"),
        ("split=train", "train"),
        ("Eval", "validation"),
        *(
            (cell, None)
            for cell in ("non-train", "is_train=False", "train: no", "no-test", "0", "", "train test")
        ),
    ],
)
def test_a_cell_says_its_split_and_nothing_else(cell: str, split: str | None) -> None:
    assert split_of_cell(cell) == split


def test_splits_of_files() -> None:
    folder = Path("shop")
    names = ["train/0.tar", "valid/0.tar", "test/0.tar", "train/test-0.tar", "rest.tar"]
    splits, notes = by_split([SafePath(folder / name) for name in names], folder)
    assert [splits.get(SafePath(folder / name)) for name in names] == ["train", "train", "test", "test", None]
    assert notes == [
        "valid is taken as train images, since there are test images besides",
        "not looked at, since their names name no split: rest.tar",
    ]
    # Words above the folder say nothing of its files.
    alone = SafePath(Path("test/shop/0.tar"))
    assert by_split([alone], Path("test/shop")) == ({alone: None}, [])
