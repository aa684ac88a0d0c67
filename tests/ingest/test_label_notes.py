import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.label_notes import NUMBER, contradiction_notes, label_notes
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
    assert f"(such as {min(labels)})" in note


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


def test_one_image_with_several_labels_is_counted() -> None:
    """As of pictures with several captions or persons: a row for each."""
    contents_N2 = np.repeat(np.array([[7, 1], [7, 2], [9, 1]], np.uint64), [5, 4, 1], axis=0)
    (note,) = contradiction_notes(
        contents_N2, np.array([0, 0, 0, 1, 2, 4, 4, 4, 4, 5]), np.zeros(10, np.bool_)
    )
    assert note.startswith(
        "5 labelled images are exact copies of 1, whose labels differ: at most 80.0% of the"
    )


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=30), st.sets(st.integers(0, 3)))
def test_what_can_be_reached_is_the_most_frequent_label_of_each_image(
    rows: list[tuple[int, int]], blank: set[int]
) -> None:
    contents_N2 = np.array([(content % 2, content // 2) for content, _ in rows], np.uint64).reshape(-1, 2)
    blank_N = np.array([content in blank for content, _ in rows], np.bool_)
    notes = contradiction_notes(contents_N2, np.array([label for _, label in rows], np.int32), blank_N)
    of_content: dict[int, Counter[int]] = defaultdict(Counter)
    for content, label in rows:
        if content not in blank:
            of_content[content][label] += 1
    several = [labels for labels in of_content.values() if len(labels) > 1]
    assert bool(notes) == bool(several)
    if notes:
        best = sum(max(labels.values()) for labels in of_content.values()) + int(blank_N.sum())
        copies = sum(map(Counter.total, several))
        assert notes[0].startswith(f"{copies} labelled images are exact copies of {len(several)}, ")
        assert f"at most {best / len(rows):.1%} of the labelled images" in notes[0]


def test_a_limit_that_rounds_to_all_images_is_not_stated() -> None:
    contents_N2 = np.stack([np.arange(8000, dtype=np.uint64) // 2, np.zeros(8000, np.uint64)], axis=1)
    (note,) = contradiction_notes(contents_N2, np.array([0, 1, *[2] * 7998]), np.zeros(8000, np.bool_))
    assert note == (
        "2 labelled images are exact copies of 1, whose labels differ: only one label per image is supported"
    )


def test_long_labels_take_a_time_that_grows_with_their_length() -> None:
    long = [f"{'1' * 131_000}{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    with at_once():
        assert label_notes(long, np.full(len(long), 30)) == []


@given(st.text("+-.,eE0123", max_size=12))
def test_what_a_number_is(text: str) -> None:
    expected = re.fullmatch(r"[+-]?\d*[.,]?\d+(?:[eE][+-]?\d+)?", text)
    assert (NUMBER.fullmatch(text) is None) == (expected is None)
