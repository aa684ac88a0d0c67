"""Rows of CSV and TSV: what is no row costs itself and no other, with its line."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.errors import UserError
from pipeline.tables.delimited import CsvRows, Head, csv_records, read_head
from pipeline.tables.lines import NotARow, open_text
from pipeline.untrusted.safe_paths import SafePath
from support import at_once

ROWS = [("a.png", "c0", "train"), ("b.png", "c1", "test"), ("c.png", "c0", "train")]
NAMES = ["image", "label", "split"]


def table(separator: str, head: str = "", end: str = "\n", tail: str = "") -> str:
    lines = [separator.join(row) + tail for row in [NAMES, *ROWS]]
    return head + end.join(lines) + end


def read(folder: Path, content: str, ending: str = ".csv") -> tuple[Head, list[tuple[int, object]]]:
    path = folder / f"m{ending}"
    path.write_bytes(content.encode())
    head = read_head(SafePath(path), str(path), "\t" if ending == ".tsv" else ",")
    with open_text(SafePath(path)) as file:
        return head, list(csv_records(file, head))


def images(rows: list[tuple[int, object]]) -> list[str]:
    return [row["image"] for _, row in rows if isinstance(row, dict)]


def refused(rows: list[tuple[int, object]]) -> dict[int, str]:
    return {line: row.reason for line, row in rows if isinstance(row, NotARow)}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (table(","), 1),
        (table(", "), 1),
        (table(";"), 1),
        (table("\t"), 1),
        (table("|"), 1),
        (table(",", end="\r\n"), 1),
        (table(",", end="\r"), 1),
        (table(",", tail=","), 1),
        (table(",", head="\ufeff"), 1),
        (table(",", head="\n\n"), 3),
        (table(";", head="sep=;\n"), 2),
        (table("|", head="SEP=|\r\n"), 2),
        (table(",", head="Catalogue of 2024\n"), 2),
        (table(";", head="# exported 2024-01-01, by someone\n"), 2),
        (table(",", head="Catalogue\n\nof 2024\n"), 4),
        (table(";").replace("split", "split, main"), 1),
        (table(",").replace("image", '"image"').replace("a.png", '"a.png"'), 1),
    ],
)
def test_shapes_of_one_table(tmp_path: Path, content: str, line: int) -> None:
    head, rows = read(tmp_path, content)
    assert head.line == line
    assert head.names[:2] == NAMES[:2]
    assert images(rows) == ["a.png", "b.png", "c.png"]
    assert [number - head.line for number, _ in rows] == [1, 2, 3]
    assert [row["label"].strip() for _, row in rows] == ["c0", "c1", "c0"]  # type: ignore[index]


def test_what_stands_above_the_header_is_noted(tmp_path: Path) -> None:
    head, _ = read(tmp_path, table(",", head="Catalogue of 2024\n"))
    assert head.notes == ["line 1 stands above the header and is left out: Catalogue of 2024"]
    assert read(tmp_path, table(",", head="\n"))[0].notes == []


@pytest.mark.parametrize(
    "content", ["image\na.png\nb.png\n", "image\na,b.png\n", "#image,label\na.png,x\nb.png,y\n"]
)
def test_a_header_is_not_taken_for_a_title(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content)[0].line == 1


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ('"19 inch', "nothing closes"),
        ('"The end" of it', "a quote stands within a cell"),
        ('"', "nothing closes"),
        ('"a""', "nothing closes"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_quote_costs_its_row_alone(tmp_path: Path, ending: str, cell: str, reason: str, place: int) -> None:
    """Whether another one follows many rows below or not."""
    mark = {".csv": ",", ".tsv": "\t"}[ending]
    for last in ("title", '24" monitor', '"The end"'):
        titles = [f"title {n}" for n in range(12)]
        titles[4], titles[9] = cell, last
        lines = [[f"{n}.png", f"c{n}"] for n in range(12)]
        for line, title in zip(lines, titles, strict=True):
            line.insert(place, title)
        names = ["image", "label"]
        names.insert(place, "title")
        content = "\n".join(mark.join(line) for line in [names, *lines]) + "\n"
        _, rows = read(tmp_path, content, ending)
        assert images(rows) == [f"{n}.png" for n in range(12) if n != 4]
        (number, why) = next(iter(refused(rows).items()))
        assert (number, len(refused(rows))) == (6, 1)
        assert "quote" in why


@pytest.mark.parametrize("rows_between", [0, 1, 5])
def test_a_cell_that_swallows_whole_rows_is_none(tmp_path: Path, rows_between: int) -> None:
    """Two quotes rows apart make a valid cell."""
    between = "".join(f"{n}.png,title,c0\n" for n in range(rows_between))
    content = f'image,title,label\na.png,"title,c0\n{between}b.png,title",c1\nc.png,title,c0\n'
    _, rows = read(tmp_path, content)
    assert images(rows) == [*(f"{n}.png" for n in range(rows_between)), "b.png", "c.png"]
    assert refused(rows) == {
        2: "the line is not a row of the table: its quote takes whole rows that follow into a cell"
    }


@pytest.mark.parametrize("odd", ["", "b.png,t,c0,", "x", 'b.png,5"" wide, red,c0', "a, b, c, d"])
def test_an_odd_line_among_them_hides_nothing(tmp_path: Path, odd: str) -> None:
    content = f'image,title,label\na.png,"t,c0\nc.png,t,c0\n{odd}\nd.png,t",c1\ne.png,t,c0\n'
    _, rows = read(tmp_path, content)
    found = {row["image"]: row["label"] for _, row in rows if isinstance(row, dict) and row["label"] != "c"}
    assert {"c.png": "c0", "d.png": "c1", "e.png": "c0"}.items() <= found.items()
    assert "a.png" not in found
    assert "its quote takes whole rows" in refused(rows)[2]


@pytest.mark.parametrize(
    "text", ["two\nlines", "red, white\nand blue", "a, b\n\nc", "a, b\nin a third line\nc, d"]
)
@pytest.mark.parametrize("place", [1, 2])
def test_texts_over_several_lines_are_no_rows(tmp_path: Path, text: str, place: int) -> None:
    cells = ["a.png", "x"]
    cells.insert(place, f'"{text}"')
    _, rows = read(tmp_path, "image,one,two\n" + ",".join(cells) + "\nb.png,x,y\n")
    assert images(rows) == ["a.png", "b.png"]
    assert refused(rows) == {}


def test_a_table_of_quotes_is_read_again_within_bounds(tmp_path: Path) -> None:
    """Each line begins a cell, or ends one and begins another, by where reading began."""
    with at_once(30):
        _, rows = read(tmp_path, "image,label\n" + 'a","b\n' * 40_000 + "c.png,x\n")
    assert any("and with it the" in reason for reason in refused(rows).values())
    assert images(rows) == []


def test_a_row_has_at_most_a_thousand_lines(tmp_path: Path) -> None:
    _, rows = read(tmp_path, 'image,label\na.png,"' + "text\n" * 1500 + '"\nb.png,x\n')
    assert images(rows) == ["b.png"]
    assert "longer than 8,388,608 characters, or 1,000 lines" in refused(rows)[2]


def test_cells_over_several_lines_and_quotes_within_are_text(tmp_path: Path) -> None:
    content = 'image,title\na.png,"two\n\nlines, and ""quotes"""\nb.png,24" monitor\n'
    _, rows = read(tmp_path, content)
    assert rows == [
        (2, {"image": "a.png", "title": 'two\n\nlines, and "quotes"'}),
        (5, {"image": "b.png", "title": '24" monitor'}),
    ]


def test_rows_that_are_too_short_or_too_long(tmp_path: Path) -> None:
    content = "image,label,kind\na.png,x\nb.png,x,1,2\nc.png,x,1,,\n\n,,\nd.png,x,1\n"
    _, rows = read(tmp_path, content)
    assert images(rows) == ["c.png", "d.png"]
    assert refused(rows) == {
        2: "the line is not a row of the table: 2 cells under 3 columns",
        3: "the line is not a row of the table: 4 cells under 3 columns",
    }


@pytest.mark.parametrize(
    "content", ["image,\udc80\na,b\n", "image,a\0\na,b\n", "a,a\n1,2\n", 'a,"b\n1,2\n', 'a,"b,c\n1,2",3\n']
)
def test_headers_that_cannot_be_read(tmp_path: Path, content: str) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"^the table (is not UTF-8|has several col|has no header that)"):
        read_head(SafePath(path), "the table")


cells = st.text('ab",;\n\r \t', max_size=5)


@given(st.lists(st.lists(cells, min_size=2, max_size=2), max_size=8))
def test_what_python_writes_is_read_back(written: list[list[str]]) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows(written)
    file.seek(0)
    expected = [row for row in written if any(cell.strip() for cell in row)]
    assert [row for _, row in CsvRows(file)] == expected


@given(st.text('ab",\n', max_size=60))
def test_no_line_is_lost(content: str) -> None:
    """Each line that is not blank is part of a row, or refused, or a cell's."""
    rows = CsvRows(io.StringIO(content, newline=""))
    seen: set[int] = set()
    for line, row in rows:
        taken = 1 if isinstance(row, NotARow) else len(rows.lines)
        seen |= set(range(line, line + taken))
    lines = content.splitlines()
    assert {n for n, line in enumerate(lines, 1) if line.replace(",", "").replace('"', "").strip()} <= seen
