import re
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dataset.label_notes import NUMBER, label_notes
from support import at_once


def notes_of(labels: list[str], images: int = 30) -> list[str]:
    return label_notes(sorted(labels), np.full(len(labels), images))


@pytest.mark.parametrize(
    ("labels", "beginning"),
    [
        ([f"{n / 7:.2f}" for n in range(40)], "the labels are numbers with fractions"),
        ([f"{n},5" for n in range(40)], "the labels are numbers with fractions"),
        (["['cat', 'dog']", "['cat']", "[]"], "the labels are lists"),
        (["cat|dog", "cat|bird", "cat"], "the labels are lists"),
        (["red;blue", "red;green", "blue;green;red"], "the labels are lists"),
        (["a dog that runs on a beach", "two cats asleep in a box by a fire"], "the labels are sentences"),
    ],
)
def test_what_makes_no_classes_is_named(labels: list[str], beginning: str) -> None:
    (note,) = notes_of(labels)
    assert note.startswith(beginning)
    assert any(note.endswith(f"(such as {label})") for label in labels)


@pytest.mark.parametrize(
    "labels",
    [
        ["cat", "dog"],
        [str(n) for n in range(1000)],
        ["1.0", "1.5", "2.0"],
        ["Shirts, long", "Shirts, short", "(other)"],
        ["yes", "no", "a label that is a sentence among many"],
        ["A", "a", "B", "b"],
        ["v1.0", "v1.01", "C", "C#", "C++"],
        [],
    ],
)
def test_classes_are_no_matter(labels: list[str]) -> None:
    assert notes_of(labels) == []


INTERVALS = [
    pd.interval_range(0, 100, 5),
    pd.interval_range(-1.5, 8.5, 10, closed="left"),
    pd.interval_range(0, 60, 6, closed="both"),
    pd.interval_range(0, 1, 4, closed="neither"),
    pd.interval_range(pd.Timestamp("2026-01-01"), pd.Timestamp("2026-05-01"), 3),
    pd.interval_range(pd.Timedelta("0 days"), pd.Timedelta("4 days"), 4),
    pd.cut(pd.Series([1.0, 30.0, 70.0]), [0, 20, 50, float("inf")], include_lowest=True).cat.categories,
    pd.qcut(pd.Series(np.random.default_rng(0).normal(size=300)), 30).cat.categories,
]


@pytest.mark.parametrize("intervals", INTERVALS, ids=str)
@pytest.mark.parametrize("further", [[], ["unknown"]], ids=["alone", "beside another"])
def test_intervals_are_classes(intervals: pd.IntervalIndex, further: list[str]) -> None:
    assert notes_of([*map(str, intervals), *further]) == []


@pytest.mark.parametrize(
    "labels",
    [
        ["[1, 2]", "[2, 3]", "[1, 3]"],
        ["[4, 1]", "[3, 2]", "[2, 9]"],
        ["[1, 2]"],
        ["[1, 2, 3]", "[4, 5]", "[6]"],
        ["('a', 'b')", "('b', 'c')"],
        ["{a,b}", "{b}", "{c,a}"],
        ["[cat, dog]", "[dog, sun]"],
        ["(0, 20]", "[a, b]", "[c, d]"],
    ],
)
def test_lists_of_two_are_no_intervals(labels: list[str]) -> None:
    (note,) = notes_of(labels)
    assert note.startswith("the labels are lists, each of which counts as a class")


def lists(tags: list[str], mark: str, lengths: tuple[int, int], *, in_order: bool) -> list[str]:
    random = np.random.default_rng(0)
    lengths_500 = random.integers(*lengths, 500, endpoint=True)
    chosen = [random.permutation(tags)[:length].tolist() for length in lengths_500]
    return list({mark.join(sorted(some) if in_order else some) for some in chosen})


@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parametrize("lengths", [(1, 2), (1, 3), (2, 4)])
@pytest.mark.parametrize("tags", [["red", "men", "sea", "sun"], [f"{n}" for n in range(9)]], ids=len)
@pytest.mark.parametrize(
    ("mark", "joined"),
    [
        (", ", ""),
        (" ", " joined by blanks"),
        (" / ", " joined by /"),
        ("+", " joined by +"),
        (" & ", " joined by &"),
    ],
)
def test_few_parts_in_many_combinations_are_lists(
    mark: str, joined: str, tags: list[str], lengths: tuple[int, int], in_order: bool
) -> None:
    """Joined as Kaggle's tables (Planet, Human Protein Atlas) and `", ".join` of Python join them."""
    labels = lists(tags, mark, lengths, in_order=in_order)
    if in_order and 2 * len(tags) > len([label for label in labels if mark in label]):
        assert notes_of(labels) == [], "too few to say so"
        return
    note, *_ = notes_of(labels)
    assert note.startswith(f"the labels are lists{joined}, each of which counts as a class"), note
    assert "ingest.columns.hashtags" in note


COLOURS, CUTS, TYPES = (
    ["red", "blue", "green", "black"],
    ["long", "short"],
    ["shirt", "skirt", "coat", "dress"],
)


@pytest.mark.parametrize(
    "labels",
    [
        ["golden retriever", "labrador retriever", "red fox", "grey fox", "fox squirrel", "cat"],
        ["Shirts, long", "Shirts, short", "Trousers, long", "Trousers, short", "Shirts", "Trousers"],
        [" ".join(parts) for parts in product(COLOURS, TYPES)],
        [", ".join(parts) for parts in product(TYPES, CUTS, COLOURS)],
        [" ".join(filter(None, parts)) for parts in product(COLOURS, ["", *CUTS], TYPES)],
        ["/".join(parts) for parts in product(["Men", "Women"], TYPES)] + ["Men", "Women"],
        [f"{a},{b}" for a in range(4) for b in range(4)] + ["1", "2"],
        ["2011 2012", "2012 2013", "2011", "2012", "2013"],
    ],
)
def test_names_of_several_words_are_no_lists(labels: list[str]) -> None:
    assert not any("lists" in note for note in notes_of(labels))


def test_a_label_for_each_image_is_counted() -> None:
    labels = [f"image {n}" for n in range(240)]
    assert label_notes(labels, np.ones(240, np.int64)) == [
        "there are 240 different labels on 240 images, and 240 images have one that no other image has: such "
        "an image cannot be classified correctly"
    ]
    few_alone = np.array([1] * 5 + [2] * 30)
    assert label_notes([f"{n}" for n in range(35)], few_alone) == []
    assert label_notes(["a", "b"], np.ones(2, np.int64)) == []


@pytest.mark.parametrize(
    ("labels", "count", "first"),
    [
        (["Cat", "cat", "dog"], 2, "'Cat' and 'cat'"),
        (["T-Shirt", "Bag", "t shirt", "t_shirt"], 3, "'T-Shirt' and 't shirt'"),
        (["1", "1.0", "2", "2.0", "2.5"], 4, "'1' and '1.0'"),
    ],
)
def test_two_spellings_of_a_label_are_named(labels: list[str], count: int, first: str) -> None:
    (note,) = notes_of(labels)
    assert note.startswith(f"{count} labels differ from others in capitals, blanks, _, - or .0 alone")
    assert f"(such as {first})" in note


def test_long_labels_take_a_time_that_grows_with_their_length() -> None:
    long = [f"{'1' * 131_000}{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    with at_once():
        assert label_notes(long, np.full(len(long), 30)) == []


@given(st.text("+-.,eE0123", max_size=12))
def test_what_a_number_is(text: str) -> None:
    expected = re.fullmatch(r"[+-]?\d*[.,]?\d+(?:[eE][+-]?\d+)?", text)
    assert (NUMBER.fullmatch(text) is None) == (expected is None)
