"""Files that carry their number and their total, of which some may be missing."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.errors import UserError
from pipeline.tables.file_series import check_series, series_notes


def train(*numbers: int, total: int = 3, form: str = "train-{:05}-of-{:05}.parquet") -> list[str]:
    return [form.format(number, total) for number in numbers]


HASHED = "train-{:05}-of-{:05}-a09b74b3ef9c3b56.parquet"


@pytest.mark.parametrize(
    "names",
    [
        [],
        train(0, 1, 2),
        [*train(0, total=1), "test-00000-of-00001.parquet"],
        train(0, 1, 2, form="data/train-{}-of-{}.tar") + train(0, 1, total=2, form="more/train-{}-of-{}.tar"),
        train(0, 1, total=2) + train(0, 1, 2, form="train-{:05}-of-{:05}.csv"),
        train(1, 2, 3, form="part-{}-of-{}.tar"),  # counted from 1
        train(0, 1, 2, form=HASHED),
        ["00000.tar", "00002.tar", "best-of-3.tar", "end-of-2019.tar", "7-of-hearts.tar"],
        ["train-00000-of-00003-mini.parquet"],
        train(0, total=0),
    ],
)
def test_series_that_are_whole(names: list[str]) -> None:
    check_series(names, "shop")


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (train(0, 2), "train-00001-of-00003.parquet"),
        (train(1, 2, form="x/train-{}-of-{}.tar"), "x/train-0-of-3.tar"),
        ([*train(0, 1), "test-00000-of-00001.parquet"], "train-00002-of-00003.parquet"),
        (train(1, 3, form="part-{}-of-{}.tar"), "part-2-of-3.tar"),
        (train(0, 2, form=HASHED), "train-00001-of-00003-*.parquet"),
        ([*train(0, 1), "test-1-of-2.parquet"], "train-00002-of-00003.parquet, test-0-of-2.parquet"),
        (train(0, total=9), ", ".join(train(1, 2, 3, 4, 5, 6, total=9)) + " and 2 more"),
        (
            train(5, total=10**30, form="{}-of-{}"),
            ", ".join(train(0, 1, 2, 3, 4, 6, total=10**30, form="{}-of-{}")),
        ),
    ],
)
def test_missing_files_are_named(names: list[str], missing: str) -> None:
    with pytest.raises(UserError, match=rf"^shop lacks {re.escape(missing)}(, as| and 9{{3}},[9,]*3 more)"):
        check_series(names, "shop")


@given(
    st.integers(1, 40).flatmap(
        lambda total: st.tuples(st.just(total), st.sets(st.integers(0, total - 1), min_size=1))
    )
)
def test_the_count_is_right(series: tuple[int, set[int]]) -> None:
    total, numbers = series
    names = train(*numbers, total=total)
    absent = sorted(set(train(*range(total), total=total)) - set(names))
    if not absent:
        check_series(names, "shop")
        return
    with pytest.raises(UserError) as caught:
        check_series(names, "shop")
    sentence = str(caught.value)
    more = re.search(r" and (\d+) more", sentence)
    assert len(re.findall("parquet", sentence)) + (int(more[1]) if more else 0) == len(absent)


def test_two_totals_of_one_name() -> None:
    with pytest.raises(
        UserError, match=r"^shop holds files of 2 series .*: train-00000-of-00002.parquet, train-"
    ):
        check_series(train(0, 1, total=2) + train(0, 1, 2), "shop")


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        (
            "train-00001-of-00003.csv",
            ["train-00001-of-00003.csv is one of 3 files of a series: the others are not read"],
        ),
        ("train-00000-of-00001.csv", []),
        ("posts.csv", []),
    ],
)
def test_a_file_of_a_series_alone(name: str, notes: list[str]) -> None:
    assert series_notes(Path("1-of-2") / name) == notes
