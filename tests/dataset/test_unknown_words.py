from collections import Counter

import pytest

from pipeline.dataset.attribute_types import are_quantities
from pipeline.dataset.unknown_words import is_unknown_word, unknown_word_notes


@pytest.mark.parametrize(
    "written",
    [
        *(
            "nan",
            "NaN",
            "NA",
            "N/A",
            "None",
            "NULL",
            "<NA>",
            "NaT",
            "\\N",
            "#N/A",
            "unknown",
            "Missing",
            "-",
            "?",
        ),
        *("unlabeled", "Unlabelled", "_unlabeled", "__unlabeled__", "-unlabeled", "un-labeled", "unlabeled_"),
        *("unclassified", "no label", "no_label", "No-Label", "  not labeled", "_unknown_", "unassigned"),
    ],
)
def test_words_that_programs_and_people_write(written: str) -> None:
    assert is_unknown_word(written)


@pytest.mark.parametrize(
    "written",
    [
        *("", "Nanna", "0", "no", "inf", "not known", "unknown " * 1000, "background", "label", "labeled"),
        *("unlabeled dogs", "_", "_-_", "-1", "- 5", "-" * 5, "class_0"),
    ],
)
def test_other_words(written: str) -> None:
    assert not is_unknown_word(written)


def test_columns_and_words_are_counted_and_few_of_them_named() -> None:
    assert unknown_word_notes([("label", Counter())]) == []
    words = Counter({"nan": 1200, "NA": 2, "?": 1, "-": 1})
    (note,) = unknown_word_notes([("label", words), ("colour", Counter()), ("size", Counter({"None": 3}))])
    assert note == (
        'words for "unknown" count as values like any other, in label (1,200 x nan, 2 x NA, 1 x ? and 1 '
        "more), size (3 x None): leave such cells empty if nothing is known there"
    )


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([f"{n}.5" for n in range(40)] + ["nan", "<NA>"], True),
        ([f"2024-02-{n:02d}" for n in range(1, 29)] + ["NaT"], True),
        ([f"{n % 4}.5" for n in range(40)] + ["nan"], False),
        ([f"id {n}" for n in range(40)] + ["nan"], False),
        ([str(n) for n in range(40)] + ["nan"], False),
        ([f"{n}.5" for n in range(40)] + ["_unlabeled", "no label"], True),
        (["yes", "no", "NA"], False),
        ([], False),
    ],
)
def test_in_quantities_such_words_are_no_values(cells: list[str], expected: bool) -> None:
    assert are_quantities(Counter(cells)) == expected
