import numpy as np
import pytest

from pipeline.ingest.label_notes import label_notes


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
