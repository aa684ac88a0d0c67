"""Notes on equal images whose labels differ."""

from collections import Counter, defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.contradictions import contradiction_notes


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
