"""What a column of attributes holds, by the texts that programs and people write."""

from collections import Counter

import numpy as np
import pytest

from pipeline.dataset.attribute_types import CATEGORICAL_UP_TO, Column, read_column

ROWS = 240
QUANTITIES = [f"{1.5 * n:.2f}" for n in range(ROWS)]


def read(cells: list[str | None], parts: int = 4) -> Column:
    return read_column("price", cells, parts)


def is_cut(column: Column) -> bool:
    return all(cell is None or cell.startswith("part ") for cell in column.cells)


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        *[("true", "false"), ("True", "False"), ("TRUE", "FALSE"), ("t", "f"), ("T", "F")],
        *[("yes", "no"), ("Yes", "No"), ("Y", "N"), ("1", "0"), ("1", "-1"), ("1.0", "0.0"), ("1.0", "-1.0")],
        ("on", "off"),
    ],
)
def test_yes_and_no(yes: str, no: str) -> None:
    column = read([yes, no, None, yes])
    assert (column.cells, column.no, column.note) == ([yes, no, None, yes], no, None)


def test_several_spellings_of_yes_and_no_are_one() -> None:
    column = read(["Yes", "yes", "YES", "No", "no", "no", "yes"])
    assert column.cells == ["yes", "yes", "yes", "no", "no", "no", "yes"]
    assert column.no == "no"


@pytest.mark.parametrize(
    "cells", [["yes", "maybe", "no"], ["1", "2"], ["yes"], ["t", "1"], ["a", "b"], [None]]
)
def test_what_is_not_yes_and_no(cells: list[str | None]) -> None:
    assert read(cells) == Column(cells)


@pytest.mark.parametrize(
    "cells",
    [
        QUANTITIES,
        [f"{n / 7!r}" for n in range(ROWS)],
        [f"{1e-7 * n!r}" for n in range(ROWS)],
        [f"{1e17 * n!r}" for n in range(ROWS)],
        [f"-{n}.5" for n in range(ROWS)],
        [cell.replace(".", ",") for cell in QUANTITIES],
        [str(n // 2 * 10) for n in range(ROWS)],
    ],
    ids=["decimals", "repr", "small", "large", "negative", "commas", "whole"],
)
def test_quantities_are_cut(cells: list[str | None]) -> None:
    column = read(cells)
    assert is_cut(column)
    assert set(Counter(column.cells).values()) == {ROWS // 4}
    assert column.note == "price holds numbers and is cut into parts of equal size"


@pytest.mark.parametrize("unknown", ["N/A", "n/a", "inf", "-", "None", "nan", "?", "unknown", None])
def test_what_is_not_known_does_not_make_categories(unknown: str | None) -> None:
    cells = [unknown if n % 10 == 0 else cell for n, cell in enumerate(QUANTITIES)]
    column = read(cells)
    assert is_cut(column)
    assert [n for n, cell in enumerate(column.cells) if cell is None] == list(range(0, ROWS, 10))
    missing = "" if unknown is None else ", 24 of them not known,"
    assert column.note == f"price holds numbers{missing} and is cut into parts of equal size"


@pytest.mark.parametrize(
    "cells",
    [
        [f"{n:05d}" for n in range(ROWS)],
        [f"{n}e12" for n in range(ROWS)],
        [f"{n}_000" for n in range(ROWS)],
        [chr(0xFF11 + n % 9) + str(n) for n in range(ROWS)],
        [*QUANTITIES[1:], "about 3"],
        [f"{n},234" for n in range(ROWS)],
        [f"{n},{n}" for n in range(ROWS - 1)] + ["51.5,-0.1"],
        [str(9000 - 7 * n) for n in range(ROWS)],
        [str(100 + n // 24) for n in range(24 * 10)] * 10 + [str(200 + n) for n in range(30)],
        [f"SKU-{n}" for n in range(ROWS)],
        [f"{n}e+400" for n in range(1, ROWS)],
        ["2024-02-30", *(f"2024-01-{n % 28 + 1:02d}" for n in range(ROWS))],
    ],
    ids=[
        *["leading-zeros", "hashes", "underscores", "full-width", "text", "thousands-or-decimals"],
        *["coordinates", "identifiers", "codes", "articles", "beyond-floats", "no-date"],
    ],
)
def test_codes_and_texts_are_categories(cells: list[str | None]) -> None:
    assert len(set(cells)) > CATEGORICAL_UP_TO
    assert read(cells) == Column(cells)


@pytest.mark.parametrize("form", ["{}", "{} 00:00:00", "{}T00:00:00Z", "{}T01:30:00+01:30"])
def test_dates_are_cut_by_time(form: str) -> None:
    days = np.datetime64("2023-12-01") + np.arange(ROWS)
    column = read([form.format(day) for day in days])
    assert column.cells[0] == "part 1 of 4, from 2023-12-01"
    assert set(Counter(column.cells).values()) == {ROWS // 4}
    assert column.note == "price holds dates and is cut into parts of equal size"
