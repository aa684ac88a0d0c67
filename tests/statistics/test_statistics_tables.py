import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.runtime.errors import UserError
from pipeline.statistics import tables
from pipeline.statistics.tables import open_table
from support import NO_FILES, at_once


def columns_of(path: Path, *names: str) -> list[list[object]]:
    read = pa.Table.from_batches(open_table(path).read(names))
    return [read.column(name).to_pylist() for name in names]


def test_csv_values_stay_the_text_they_are(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('\ufeffa,b\n01,"x,\ny"\n1,\n', encoding="utf-8")
    assert open_table(path).columns == ["a", "b"]
    assert columns_of(path, "b", "a") == [["x,\ny", ""], ["01", "1"]]


def test_a_csv_column_of_several_types(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n" * 2_000 + "one,2.5\n")
    assert columns_of(path, "a")[0][-1] == "one"


def test_tsv(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("a\tb\n1\tx, y\n")
    assert columns_of(path, "b") == [["x, y"]]


def test_json_lines_with_mixed_types_missing_keys_and_nested_values(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1, "tags": ["x"]}\n\n{"a": "one", "b": true}\n{"b": null}\n')
    assert open_table(path).columns == ["a", "b"]
    assert columns_of(path, "a", "b") == [["1", "one", None], [None, "true", None]]


def test_parquet_columns_of_one_value_a_row(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    columns = {
        "a.b": [1, 2],
        "d": pa.array(["x", "y"]).dictionary_encode(),
        "tags": [["x"], []],
        "image": [b"\x89PNG", b"2"],
        "bytes": [b"x", None],
        "s": [{"k": 1}, {"k": 2}],
    }
    pq.write_table(pa.table(columns), path)
    assert open_table(path).columns == ["a.b", "d", "bytes"]
    assert columns_of(path, "d", "a.b") == [["x", "y"], [1, 2]]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", "a,ö\n1,2\n".encode("latin-1"), "is not UTF-8 text: save it as UTF-8"),
        ("t.csv", b"a,a\n1,2\n", "has several columns 'a': rename them"),
        ("t.parquet", b"no parquet at all", "is not a Parquet file"),
        ("t.jsonl", b'{\n"a": 1}\n', "objects of JSON over several lines each: write one object per line"),
        ("t.xlsx", b"PK", "must end in .csv, .json, .jsonl, .ndjson, .parquet, .tsv: rename or convert it"),
        ("t.csv.gz", b"\x1f\x8b", "must end in .csv, .json, .jsonl, .ndjson, .parquet, .tsv: unpack it"),
        (
            "t.csv",
            b"images/1.JPG,2\nimages/2.JPG,3\n",
            "has no header, since its first line names the image images/1.JPG: add a line with the names of",
        ),
    ],
)
def test_what_is_no_table_is_told_in_a_sentence(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=sentence.replace(".", r"\.")) as caught:
        columns_of(path, "a", "b")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "reason", "where"),
    [
        ("t.csv", b"a,b\n1,2\n3\n", "the line is not a row of the table: 1 cells under 2 columns", "line 3"),
        ("t.csv", b"a,b\n1,2\n1,\xff\xfe\n", "the line is not UTF-8 text", "line 3"),
        ("t.jsonl", b'{"a": 1}\n{"a"\n', "the line is not a row of the table: Expecting ':' ", "line 2"),
        ("t.jsonl", b'{"a": 1}\n3\n', "the line is not a row of the table", "line 2"),
        ("t.jsonl", b'{"a": "\xff"}\n{"a": 1}', "the line is not UTF-8 text", "line 1"),
        ("t.json", b'[{"a": 1}, 2]', "the line is not a row of the table", "item 2"),
    ],
)
def test_what_is_no_row_is_counted(
    tmp_path: Path, name: str, content: bytes, reason: str, where: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    table = open_table(path)
    (batch,) = table.read(table.columns)
    assert batch.num_rows == 1
    assert table.refused.total() == 1
    assert table.refused.in_words().startswith(f"1 x {reason}")
    assert table.refused.in_words().endswith(f"e.g. {name} {where}")


def test_a_hundred_thousand_columns_of_lists(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(
        json.dumps({"a": 1} | {f"c{number}": [] for number in range(100_000)}) + "\n" + '{"a": 2}\n'
    )
    with at_once():
        table = open_table(path)
        table.check_columns(["a"])
    assert table.columns == ["a"]


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        open_table(tmp_path / "t.csv")
    with pytest.raises(UserError, match="is a folder"):
        open_table(tmp_path)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"])
@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_told_at_once(tmp_path: Path, ending: str, kind: str) -> None:
    path = tmp_path / f"t{ending}"
    NO_FILES[kind](path)
    with at_once(), pytest.raises(UserError, match=f"^{path} (can't be read|does not exist|is a folder)"):
        open_table(path)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_what_was_a_file_is_not_waited_for(tmp_path: Path, ending: str) -> None:
    """A pipe that takes its place after it was opened."""
    path = tmp_path / f"t{ending}"
    texts = {".csv": "a,b\n1,2\n", ".tsv": "a\tb\n1\t2\n", ".jsonl": '{"a": "1", "b": "2"}\n'}
    if ending in texts:
        path.write_text(texts[ending])
    else:
        pq.write_table(pa.table({"a": ["1"], "b": ["2"]}), path)
    # A table that the user names may be a link to one elsewhere.
    (tmp_path / "kept").mkdir()
    path.rename(tmp_path / "kept/t")
    path.symlink_to(tmp_path / "kept/t")
    table = open_table(path)
    assert columns_of(path, "a", "b") == [["1"], ["2"]]
    path.unlink()
    os.mkfifo(path)
    with at_once(), pytest.raises(UserError, match="a pipe, socket or device, not a file"):
        list(table.read(["a"]))


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_long_texts_make_small_batches_of_what_is_wanted(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_BATCH_CHARACTERS", 10_000)
    path = tmp_path / name
    if name == "t.csv":
        path.write_text("a,b\n" + f"{'x' * 1000},{'y' * 5000}\n" * 100)
    else:
        path.write_text(json.dumps({"a": "x" * 1000, "b": ["y"] * 1000}) + "\n" * 2)
        path.write_text(path.read_text() * 100)
    rows = [batch.num_rows for batch in open_table(path).read(["a"])]
    assert sum(rows) == 100
    assert max(rows) == 11


def test_a_table_of_a_million_columns_is_no_more_than_its_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x" + "," * 300_000 + "\n" + "1," * 300_000 + "1\n")
    with at_once(10):
        table = open_table(path)
    assert table.columns == ["x"]
    with pytest.raises(UserError, match=r"has no column label: it has x$"):
        table.check_columns(["label"])
