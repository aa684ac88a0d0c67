from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dataset.label_determination import determines_labels, label_error_reduction


def by_hand(clusters: list[int], labels: list[int]) -> float | None:
    """A row at a time."""
    sizes = Counter(clusters)
    rows = [row for row in range(len(labels)) if sizes[clusters[row]] > 1]
    if len(rows) < max(10, len(labels) / 2):
        return None
    wrong = 0
    for row in rows:
        others = Counter(labels[o] for o in range(len(labels)) if o != row and clusters[o] == clusters[row])
        best = max(others.values())
        wrong += {label for label, count in others.items() if count == best} != {labels[row]}
    without = len(rows) - max(Counter(labels[row] for row in rows).values())
    return 1 - wrong / without if without else None


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=60))
def test_it_is_what_guessing_each_row_from_the_others_gives(rows: list[tuple[int, int]]) -> None:
    clusters, labels = (list(column) for column in zip(*rows, strict=True))
    cells = Counter(rows)
    clusters_C, labels_C = (np.array(column) for column in zip(*cells, strict=True))
    expected = by_hand(clusters, labels)
    reduction = label_error_reduction(clusters_C, labels_C, np.array(list(cells.values())))
    assert reduction == (None if expected is None else pytest.approx(expected))


LABELS_N = np.arange(600) % 12


@pytest.mark.parametrize(
    ("clusters_N", "expected"),
    [
        (LABELS_N * 7 % 12, True),  # the label under another name
        (LABELS_N * 8 + np.arange(600) // 12 % 8, True),  # finer names
        (np.where(np.arange(600) < 9, 3, LABELS_N), True),  # a few mistakes
        (np.arange(600), False),  # an identifier
        (LABELS_N // 2, False),  # a coarser level
        (np.random.default_rng(0).integers(0, 12, 600), False),
        (np.zeros(600, np.int64), False),
    ],
)
def test_what_determines_the_label(clusters_N: np.ndarray, expected: bool) -> None:
    assert determines_labels(clusters_N, LABELS_N) is expected


def test_unknown_values_do_not_count() -> None:
    clusters_N = np.where(np.arange(600) % 2, LABELS_N, -1)
    assert determines_labels(clusters_N, LABELS_N)
    assert not determines_labels(np.full(600, -1), LABELS_N)
    assert not determines_labels(LABELS_N, np.full(600, -1))


def test_a_frequent_label_is_no_determination() -> None:
    labels_N = (np.arange(1000) % 100 == 0).astype(np.int64)
    clusters_N = np.arange(1000) // 7 % 5
    assert not determines_labels(clusters_N, labels_N)
