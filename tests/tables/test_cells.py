"""What a cell says does not depend on how a program stored it, nor on characters that nobody sees."""

import math
import sys
import unicodedata
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tables.cells import FOLDED, Notices, NotOneValue, as_written, folded, noted, text


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (None, None),
        (math.nan, None),
        (Decimal("nan"), None),
        ("", None),
        (" \t\u00a0", None),
        (" red ", "red"),
        (3.0, "3"),
        (3.5, "3.5"),
        (-0.0, "0"),
        (10**300, str(10**300)),
        (math.inf, "inf"),
        (True, "true"),
        (0, "0"),
        (Decimal("12.50"), "12.50"),
        (date(2024, 2, 29), "2024-02-29"),
        (b"red", "red"),
        ("été".encode(), "été"),
        (b"", None),
    ],
)
def test_the_text_of_a_cell(cell: Any, expected: str | None) -> None:
    assert text(cell) == expected


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        (["a"], "a list"),
        ({"a": 1}, "an object"),
        (b"\x89PNG\r\n\x1a\n", "bytes that are not UTF-8 text"),
        (bytes(16), "bytes that are not UTF-8 text"),
    ],
)
def test_what_is_not_one_value(cell: Any, what: str) -> None:
    with pytest.raises(NotOneValue, match=f"^{what}$"):
        text(cell)


BLANKS = [
    *(chr(code) for code in range(sys.maxunicode) if unicodedata.category(chr(code)) == "Zs"),
    *("\u2800", "\u3164", "\uffa0"),
]


@pytest.mark.parametrize(
    ("written", "looks"),
    [
        ("cafe\u0301", "caf\u00e9"),  # an accent of its own
        ("sum\u00admer", "summer"),  # a soft hyphen
        ("\ufeffred\u200b", "red"),  # a byte order mark, a zero-width space
        ("re\u200dd", "red"),  # a joiner between letters that do not join
        (
            "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("\u200f\u05e7\u05e4\u05d4", "\u05e7\u05e4\u05d4"),  # a right-to-left mark
        ("\u202bred\u202c", "red"),  # an embedding
        ("\u2067red\u2069", "red"),  # an isolate
        ("\u061cred\u2063", "red"),  # an Arabic letter mark, an invisible separator
        *((f"dark{blank}blue", "dark blue") for blank in BLANKS),
        ("\u3164", ""),
        ("\u2764\ufe0f", "\u2764\ufe0f"),  # a heart as an emoji
        ("Å", "Å"),  # the sign for the unit, and the letter
    ],
)
def test_text_that_looks_the_same_is_the_same(written: str, looks: str) -> None:
    assert folded(written) == looks


@given(st.text())
def test_folding_again_changes_nothing(written: str) -> None:
    assert folded(folded(written)) == folded(written)


def test_what_was_folded_is_counted() -> None:
    notices = Notices()
    for cell in [
        "cafe\u0301",
        "re\u200bd",
        " red ",
        "\u00a0red",
        "été",
        "a\u00a0b",
        b"re\xe2\x80\x8bd",
        "\u200e",
    ]:
        text(cell, notices)
    assert notices == {FOLDED: 5}
    assert noted(notices) == [f"5 {FOLDED}"]


def test_a_cell_can_be_read_as_written() -> None:
    assert as_written(" a\u00a0\u200eb ") == "a\u00a0\u200eb"
    assert as_written(" ") is as_written(math.nan) is None
    assert as_written(3.0) == "3"
