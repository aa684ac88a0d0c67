"""Each format of a table: its columns, its rows, and what is no row."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.ingest import IngestParams
from pipeline.runtime.errors import UserError
from pipeline.sources.base import Refusal, SourceRow
from pipeline.sources.manifest import ManifestSource
from pipeline.statistics.command import statistics_of_table
from pipeline.tables import json_rows, lines
from pipeline.tables.lines import NotARow
from pipeline.tables.reading import TableFile, open_table_file
from pipeline.tables.records import HALF_CHARACTER
from pipeline.untrusted.safe_paths import SafePath

RECORDS = [{"image": "a.png", "label": "x"}, {"image": "b.png", "label": "y"}]
FORMS = {
    "m.csv": "image,label\na.png,x\nb.png,y\n",
    "m.tsv": "image\tlabel\na.png\tx\nb.png\ty\n",
    "lines.jsonl": "\n".join(map(json.dumps, RECORDS)),
    "m.ndjson": "\n\n".join(map(json.dumps, RECORDS)),
    "array.json": json.dumps(RECORDS),
    "array.jsonl": json.dumps(RECORDS, indent=1),
    "lines.json": "\n".join(map(json.dumps, RECORDS)),
}


def opened(folder: Path, name: str, content: str) -> TableFile:
    path = folder / name
    path.write_text(content)
    return open_table_file(SafePath(path), "the table")


@pytest.mark.parametrize(("name", "content"), FORMS.items(), ids=FORMS)
def test_every_format_holds_the_same(tmp_path: Path, name: str, content: str) -> None:
    table = opened(tmp_path, name, content)
    assert table.columns == ["image", "label"]
    assert [record for _, record in table.rows(None)] == RECORDS
    assert [record for _, record in table.rows(None)] == RECORDS, "also a second time"


def test_keys_that_appear_late_are_columns(tmp_path: Path) -> None:
    lines = [json.dumps({"image": f"{n}.png", "kind": "a"}) for n in range(5000)]
    lines.append(json.dumps({"image": "last.png", "label": "x", "tags": ["a"]}))
    table = opened(tmp_path, "m.jsonl", "\n".join(lines))
    assert table.columns == ["image", "kind", "label", "tags"]
    assert table.no_values == ["tags"]


def test_a_first_line_that_is_an_array_is_no_row(tmp_path: Path) -> None:
    table = opened(tmp_path, "m.jsonl", '[1]\n{"image": "a.png"}\n')
    first, second = (record for _, record in table.rows(None))
    assert isinstance(first, NotARow)
    assert second == {"image": "a.png"}


def test_objects_over_several_lines_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="objects of JSON over several lines each: write one object per line"):
        opened(tmp_path, "m.jsonl", "\n".join(json.dumps(record, indent=1) for record in RECORDS))


COCO = {
    "info": {"year": 2017},
    "images": [{"id": 0, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}],
    "annotations": [],
    "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
}
NO_ROWS: dict[str, tuple[Any, str]] = {
    "coco": (
        COCO,
        "the keys info, images, annotations, categories, of which images, annotations, categories hold lists"
        ": write one row per image, with its path and its label, as an array or as one object per line (a "
        "list of rows is under images)",
    ),
    "coco with a text": (COCO | {"version": "1"}, "(a list of rows is under images)"),
    "coco without rows": (COCO | {"images": []}, "categories hold lists: .* as one object per line$"),
    "fiftyone": (
        {"classes": ["cat", "dog"], "labels": {"a": 0, "b": 1}},
        "the keys classes, labels, of which classes hold lists: write one row per image",
    ),
    "pandas": (
        {"image": {"0": "a.png", "1": "b.png"}, "label": {"0": "x", "1": "y"}},
        "the keys image, label, of which none holds a list: write one row per image",
    ),
}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["m.json", "m.jsonl"])
@pytest.mark.parametrize(("content", "reason"), NO_ROWS.values(), ids=NO_ROWS)
def test_an_object_that_is_no_row_is_described(
    tmp_path: Path, content: Any, reason: str, name: str, indent: int | None
) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(content, indent=indent))
    reason = reason.replace("(a list of rows is under images)", r"\(a list of rows is under images\)$")
    with pytest.raises(UserError, match=rf"m\.json.* holds one JSON object and no rows, with .*{reason}"):
        ManifestSource.open(IngestParams(source="manifest", path=str(path)), 0)
    with pytest.raises(UserError, match=rf"m\.json.* holds one JSON object and no rows, with .*{reason}"):
        statistics_of_table(path, "label", [], seed=0)


def test_an_object_that_is_too_long_for_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "LARGEST_ARRAY", 1 << 14)
    monkeypatch.setattr(lines, "LONGEST_LINE", 1 << 13)
    content = json.dumps(COCO | {"licenses": ["x" * 100] * 1000})
    with pytest.raises(
        UserError, match=r"one JSON object and no rows \(the line is longer .*: write one row"
    ):
        opened(tmp_path, "m.json", content)
    table = opened(tmp_path, "m.jsonl", content + "\n" + json.dumps(RECORDS[0]))
    assert [record for _, record in table.rows(None)][1:] == [RECORDS[0]]


@pytest.mark.parametrize(
    "row",
    [
        {"image": "a.png", "label": "x"},
        {"image": 3, "label": 1},
        {"image": "a.png", "hashtags": ["a", "b"], "box": {"x": 1}},
        {"image": "a.png", "hashtags": [{"text": "a"}, {"text": "b"}]},
        {"image": "a.png", "boxes": [{"x": 1}]},
    ],
)
def test_an_object_on_one_line_may_be_a_row(tmp_path: Path, row: dict[str, Any]) -> None:
    table = opened(tmp_path, "m.jsonl", json.dumps(row))
    assert [record for _, record in table.rows(None)] == [row]


def test_an_array_that_is_too_large_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "LARGEST_ARRAY", 1 << 20)
    with pytest.raises(UserError, match="array of more than 1 MiB, which is read as a whole"):
        opened(tmp_path, "m.json", json.dumps(RECORDS * 40_000))


def test_an_array_that_ends_where_reading_does_is_not_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_rows, "LARGEST_ARRAY", 1 << 16)
    array = json.dumps(RECORDS)
    content = array + " " * ((1 << 12) + (1 << 16) - len(array)) + "\n" + json.dumps(RECORDS[0]) + "\n"
    with pytest.raises(UserError, match="is read as a whole"):
        opened(tmp_path, "m.jsonl", content)


COLUMNS: dict[str, Any] = {
    "image": [f"{n}.png" for n in range(4)],
    "label": [b"cat", b"dog", b"cat", "été".encode()],
    "thumb": [b"\x89PNG\r\n", b"\x00", None, b"x"],
    "uuid": pa.array([bytes([n] * 16) for n in range(4)], pa.binary(16)),
    "boxes": [[1], [2, 3], [], None],
    "meta": [{"a": 1}] * 4,
    "when": pa.array([0, 86_400_000_000, None, 2**50], pa.timestamp("us", "Foo/Bar")),
    "day": pa.array([3_000_000] * 4, pa.date32()),
}


def test_types_of_parquet(tmp_path: Path) -> None:
    """Bytes that are text are text; times go on where Python's calendar ends, in zones nobody knows."""
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table(COLUMNS), path)
    source = ManifestSource.open(IngestParams(source="manifest", path=str(path)), 0)
    assert source.attribute_names == ["when", "day"]
    assert (
        source.notes[-1] == "columns of lists, objects and bytes are no attributes: boxes, meta, thumb, uuid"
    )
    rows = list(source.rows())
    assert all(isinstance(row, SourceRow) for row in rows)
    assert [row.label for row in rows if isinstance(row, SourceRow)] == ["cat", "dog", "cat", "été"]
    whens = [row.attributes["when"] for row in rows if isinstance(row, SourceRow)]
    assert whens[:3] == ["1970-01-01 00:00:00Z", "1970-01-02 00:00:00Z", None]
    assert {row.attributes["day"] for row in rows if isinstance(row, SourceRow)} == {"10183-09-21"}
    found = statistics_of_table(path, "label", [], seed=0)
    assert [column["column"] for column in found.columns] == ["day"]


@pytest.mark.parametrize("label", [["c0"], {"name": "c0"}])
def test_a_label_of_several_values_is_refused(tmp_path: Path, label: Any) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(json.dumps({"image": f"{n}.png", "label": label}) for n in range(3)))
    source = ManifestSource.open(IngestParams(source="manifest", path=str(path)), 0)
    what = "a list" if isinstance(label, list) else "an object"
    assert [row.reason for row in source.rows() if isinstance(row, Refusal)] == [
        f"the label is {what}, and must be one text or number"
    ] * 3


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (rb'"half \ud83d"', HALF_CHARACTER),
        (rb'["\udd00"]', HALF_CHARACTER),
        (b'"caf\xe9"', "the line is not UTF-8 text"),
    ],
)
def test_a_cut_emoji_is_called_so(tmp_path: Path, cell: bytes, reason: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"a": ' + cell + b'}\n{"a": "whole \\ud83d\\ude00"}\n')
    (_, first), (_, second) = open_table_file(SafePath(path), "the table").rows(None)
    assert first == NotARow(reason)
    assert second == {"a": "whole \U0001f600"}


def test_an_object_with_a_key_twice_is_no_row(tmp_path: Path) -> None:
    """Python takes the last value, others the first, and nobody says so."""
    twice = '{"image": "c.png", "label": "x", "label": "y"}'
    nested = '{"image": "d.png", "label": "z", "box": {"w": 1, "w": 2}}'
    refused = NotARow("the key 'label' stands more than once in the object")
    lines = [*map(json.dumps, RECORDS), twice, nested]
    for name, content in {"m.jsonl": "\n".join(lines), "m.json": f"[{', '.join(lines)}]"}.items():
        rows = [record for _, record in opened(tmp_path, name, content).rows(["image", "label"])]
        assert rows == [*RECORDS, refused, {"image": "d.png", "label": "z"}]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_lines_of_which_none_can_be_read_are_no_empty_table(tmp_path: Path, encoding: str) -> None:
    """Of a spreadsheet or a shell that writes UTF-16."""
    path = tmp_path / "m.jsonl"
    path.write_bytes("\n".join(map(json.dumps, RECORDS)).encode(encoding))
    with pytest.raises(UserError, match=r"no row that can be read: .* not UTF-8 text, in m\.jsonl line 1"):
        open_table_file(SafePath(path), "the table")
    with pytest.raises(UserError, match="can be read: the line is not a row of the table: Expecting"):
        opened(tmp_path, "m.jsonl", "image,label\na.png,x\n")
    assert opened(tmp_path, "m.jsonl", "\n").columns == []
