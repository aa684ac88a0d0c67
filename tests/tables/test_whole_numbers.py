"""One whole number in two ways of writing, in one column of a text table."""

from pathlib import Path

import pytest

from pipeline.sources.base import SourceRow
from pipeline.sources.manifest import ManifestSource
from pipeline.statistics.command import statistics_of_table
from pipeline.tables.reading import open_table_file
from pipeline.tables.whole_numbers import cells_with_zeros, may_have_zeros, without_zeros
from pipeline.untrusted.safe_paths import SafePath
from support import params_with

NOTE = (
    "{} cells of {} are whole numbers with .0, which other cells of the column lack: they count as the "
    "number without it"
)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["2011", "2011.0", "2012.0"], 2),
        (["0", "0.0", "-3", " -3.00 "], 2),
        (["1", "1.0", "", " ", "NA", "none"], 1),
        (["2011.0", "2012.0"], 0),
        (["1.0", "1.5", "2.0", "2"], 0),
        (["007", "7", "7.0"], 0),
        (["v1", "1", "1.0"], 0),
        (["1.0.0", "1.0", "1"], 0),
        (["1,0", "1", "1.0"], 0),
        (["1e3", "1", "1.0"], 0),
        (["٣", "3", "3.0"], 0),
        (["yes", "no"], 0),
        ([], 0),
    ],
)
def test_columns_of_whole_numbers(cells: list[str], expected: int) -> None:
    found = cells_with_zeros(({"year": cell} for cell in cells), ["year"])
    assert found == ({"year": expected} if expected else {})


def test_zeros_are_found_in_lines_and_taken_from_cells() -> None:
    assert may_have_zeros(["a,1", "b,2.0,c"])
    assert may_have_zeros(["b,2.000\n"])
    assert not may_have_zeros(["a,1.05", "b,.0", "2.01", "2.", "x.0"])
    record = {"year": "2011.0 ", "month": "10", "version": "1.0"}
    assert without_zeros(record, ["year", "month", "gone"]) == {
        "year": "2011 ",
        "month": "10",
        "version": "1.0",
    }


@pytest.mark.parametrize(("ending", "mark"), [(".csv", ","), (".csv", ";"), (".tsv", "\t")])
def test_ingest_and_statistics_count_them_as_one_value(tmp_path: Path, ending: str, mark: str) -> None:
    years = [f"201{n % 4}" + (".0" if n >= 50 else "") for n in range(100)]
    lines = [("image", "label", "year", "version")]
    lines += [(f"{n}.png", "ab"[n % 2], year, ("1.0", "1.5", "2")[n % 3]) for n, year in enumerate(years)]
    path = tmp_path / f"m{ending}"
    path.write_text("\n".join(map(mark.join, lines)))
    source = ManifestSource.open(params_with(ingest={"source": "manifest", "path": str(path)}).ingest, 0)
    rows = [row for row in source.rows() if isinstance(row, SourceRow)]
    assert {row.attributes["year"] for row in rows} == {"2010", "2011", "2012", "2013"}
    assert {row.attributes["version"] for row in rows} == {"1.0", "1.5", "2"}
    assert NOTE.format(50, "year") in source.notes
    found = statistics_of_table(path, "label", [], seed=0)
    assert {one["column"]: one["clusters"] for one in found.columns} == {"year": 4, "version": 3}
    assert NOTE.format(50, "year") in found.notes


def test_a_row_that_is_refused_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text('a,b\n1,x\n1.0,y\n2.5\n2,"z\n')
    table = open_table_file(SafePath(path), "the table")
    assert table.notes == [NOTE.format(1, "a")]
    assert [record for _, record in table.rows(["a"]) if isinstance(record, dict)] == [{"a": "1"}, {"a": "1"}]
