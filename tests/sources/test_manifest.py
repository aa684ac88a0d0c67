"""The manifest source reads what people have, and says what it can't read."""

import json
from collections.abc import Callable
from operator import length_hint
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.ingest import IngestParams
from pipeline.runtime.errors import UserError
from pipeline.sources.base import Refusal, SourceRow
from pipeline.sources.manifest import ManifestSource
from pipeline.sources.reading.row_checks import checked
from pipeline.sources.reading.source_root import ALLOWED_BY
from pipeline.tables.cells import FOLDED
from pipeline.tables.hashtags import hashtags_of
from pipeline.tables.records import HALF_CHARACTER
from pipeline.untrusted.safe_paths import Boundary, SafePath
from support import png

RECORDS: list[dict[str, Any]] = [
    {"image": "a.png", "label": "x", "split": "train", "hashtags": ["#Red", "sea side"], "year": 2010.0},
    {"image": "b.png", "label": None, "split": "test", "hashtags": None, "year": None},
]


def open_manifest(path: Path, **columns: Any) -> ManifestSource:
    params = {"source": "manifest", "path": str(path), "columns": columns}
    return ManifestSource.open(IngestParams.model_validate(params), 0)


def write(folder: Path, suffix: str) -> Path:
    path = folder / f"manifest{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(RECORDS), path)
    elif suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(record) for record in RECORDS) + "\n\n")
    else:
        separator = {".csv": ",", ".tsv": "\t"}[suffix]
        lines = [
            list(RECORDS[0]),
            ["a.png", "x", "train", "#Red;sea side", "2010"],
            ["b.png", "", "test", "", ""],
        ]
        path.write_text("\ufeff" + "\n".join(separator.join(line) for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_the_rows_to_come_are_told_beforehand(tmp_path: Path, suffix: str) -> None:
    """About: a header, and a last line without an end, are one row more or less."""
    assert length_hint(open_manifest(write(tmp_path, suffix))) in (len(RECORDS), len(RECORDS) + 1)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_all_formats_say_the_same(tmp_path: Path, suffix: str) -> None:
    source = open_manifest(write(tmp_path, suffix))
    assert source.attribute_names == ["year"]
    first, second = source.rows()
    assert first == SourceRow(
        id="a.png",
        image=SafePath(tmp_path / "a.png", Boundary.around(tmp_path, ALLOWED_BY)),
        path="a.png",
        label="x",
        split="train",
        hashtags=["#Red", "sea side"],
        attributes={"year": "2010"},
    )
    assert isinstance(second, SourceRow)
    assert (second.label, second.hashtags, second.attributes) == (None, [], {"year": None})


@pytest.mark.parametrize(
    ("cell", "tags"),
    [
        ("red;sea side; ;Blue", ["red", "sea side", "Blue"]),
        ("#red #sea, #blue", ["#red", "#sea", "#blue"]),
        ("red, sea side", ["red", "sea side"]),
        ("sea side", ["sea side"]),
        ("", []),
        (None, []),
        (["a", None, " "], ["a"]),
    ],
)
def test_hashtag_cells(cell: Any, tags: list[str]) -> None:
    assert hashtags_of(cell) == tags


def test_rows_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(
        "image,label,split\na.png,x,train\n,x,train\na.png,y,test\nb.png,x,vol\nc.png,x,test,more\n"
    )
    reasons = [
        (row.where, row.reason) for row in checked(open_manifest(path).rows()) if isinstance(row, Refusal)
    ]
    assert reasons == [
        ("m.csv line 3", "the cell of column 'image' is empty"),
        ("m.csv line 4", "an earlier row has the same image"),
        (
            "m.csv line 5",
            "the split is 'vol', and must say train, test or validation",
        ),
        ("m.csv line 6", "the line is not a row of the table: 4 cells under 3 columns"),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.csv", "image,label,split\na.png,x,train\nb.png,x,\nc.png,x, \nd.png,x,\u200b\n"),
        ("m.jsonl", '{"image": "a", "split": "test"}\n{"image": "b"}\n{"image": "c", "split": null}\n'),
    ],
)
def test_an_empty_cell_of_the_split_names_the_cure(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    first, *rows = open_manifest(path).rows()
    assert isinstance(first, SourceRow)
    assert {row.reason for row in rows if isinstance(row, Refusal)} == {
        "the split is an empty cell, and must say train, test or validation (fill it, or set "
        "ingest.columns.split=null)"
    }
    assert not any(isinstance(row, Refusal) for row in open_manifest(path, split=None).rows())


def test_text_that_is_no_unicode_is_refused_and_never_guessed(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes("image,label\na.png,Café\nb.png,x\n".encode("latin-1"))
    rows = list(open_manifest(path).rows())
    assert rows[0] == Refusal("m.csv line 2", "the line is not UTF-8 text")
    assert isinstance(rows[1], SourceRow)
    path = tmp_path / "m.jsonl"
    path.write_text(
        '{"image": "a.png", "label": "\\ud800"}\n{"image": ' + "9" * 5000 + '}\n[1]\n{"image": "b.png"}\n'
    )
    reasons = [row.reason for row in open_manifest(path).rows() if isinstance(row, Refusal)]
    not_a_row = "the line is not a row of the table"
    digits = f"{not_a_row}: it holds a number of thousands of digits"
    assert reasons == [HALF_CHARACTER, digits, not_a_row]


@pytest.mark.parametrize(
    ("name", "separator"), [("m.csv", ";"), ("m.csv", "\t"), ("m.tsv", ","), ("m.tsv", ";")]
)
def test_columns_may_be_separated_as_spreadsheets_do_it(tmp_path: Path, name: str, separator: str) -> None:
    path = tmp_path / name
    lines = [["image", "label", "kind; and, so", ""], ["a.png", "x", "y", ""]]
    cells = [[f'"{cell}"' if ";" in cell else cell for cell in line] for line in lines]
    path.write_text("\n".join(separator.join(line) for line in cells))
    (row,) = open_manifest(path).rows()
    assert isinstance(row, SourceRow)
    assert (row.path, row.label, row.attributes) == ("a.png", "x", {"kind; and, so": "y"})


def test_lines_may_end_in_carriage_returns_alone(tmp_path: Path) -> None:
    """Which the fuzzer found. The third line would be a second column of a name."""
    path = tmp_path / "m.csv"
    path.write_bytes(b"image,kind\ra.png,x\rb.png,kind\r")
    rows = [row for row in open_manifest(path).rows() if isinstance(row, SourceRow)]
    assert [(row.path, row.attributes) for row in rows] == [
        ("a.png", {"kind": "x"}),
        ("b.png", {"kind": "kind"}),
    ]
    path.write_bytes(b"image,kind\ra.png,x\r\xff.png,y\r")
    first, second = open_manifest(path).rows()
    assert isinstance(first, SourceRow)
    assert isinstance(second, Refusal), "the header alone decides for the whole table"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_header_that_is_not_utf_8_names_the_cure(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes("image,Größe\na.png,x\n".encode(encoding))
    with pytest.raises(UserError, match=r"m.csv \(ingest.path\) is not UTF-8 text: save it as UTF-8"):
        open_manifest(path)


def test_two_columns_of_one_name_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("image,kind,kind\na.png,x,y\n")
    with pytest.raises(UserError, match="has several columns 'kind': rename them"):
        open_manifest(path)


def test_columns_that_number_the_rows_are_no_attributes(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(",image,kind,Unnamed: 0\n0,a.png,x,5\n")
    assert open_manifest(path).attribute_names == ["kind"]


def test_conventional_columns_may_be_absent_and_named_ones_may_not(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("image,kind\na.png,x\n")
    source = open_manifest(path)
    assert source.notes == [
        "the manifest has no column 'label' (ingest.columns.label): the images have no label",
        "the manifest has no column 'split' (ingest.columns.split): a split is made",
        "the manifest has no column 'hashtags' (ingest.columns.hashtags): the images have no hashtags",
    ]
    assert open_manifest(path, label="kind").attribute_names == []
    with pytest.raises(UserError, match=r"no column 'klass' \(ingest.columns.label\).*image, kind"):
        open_manifest(path, label="klass")
    with pytest.raises(UserError, match=r"no column 'photo' \(ingest.columns.image\)"):
        open_manifest(path, image="photo")
    with pytest.raises(
        UserError, match=r"'size' \(ingest.columns.attributes\) nor 'top' \(ingest.columns.hier"
    ):
        open_manifest(path, attributes=["size"], hierarchy=["top"])


def test_hierarchy_and_named_attributes(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("image,a,b,c\nx.png,1,root,leaf\ny.png,2,root,\nz.png,3,,lost\n")
    source = open_manifest(path, hierarchy=["b", "c"], attributes=["a"])
    assert [row.hierarchy for row in source.rows() if isinstance(row, SourceRow)] == [
        ["root", "leaf"],
        ["root"],
        [],
    ]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("absent.csv", None, "does not exist: set ingest.path"),
        ("m.xlsx", b"x", "must end in .csv, .json, .jsonl, .ndjson, .parquet, .tsv"),
        ("m.csv", b"", "holds no row"),
        ("m.parquet", b"not parquet", "is not a Parquet file"),
    ],
)
def test_manifests_that_are_none(tmp_path: Path, name: str, content: bytes | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        open_manifest(tmp_path / name)


def test_a_folder_is_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder: set ingest\.path"):
        open_manifest(tmp_path)


def test_a_manifest_needs_a_path() -> None:
    with pytest.raises(UserError, match=r"^ingest.source=manifest needs ingest.path: set it to the manif"):
        ManifestSource.open(IngestParams(source="manifest"), 0)


@pytest.mark.parametrize("outside", ["../secret.png", "images/../../secret.png", "{absolute}", "link.png"])
def test_paths_out_of_the_folder_are_refused_unless_allowed(tmp_path: Path, outside: str) -> None:
    folder = tmp_path / "catalogue"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(png(0))
    (folder / "link.png").symlink_to("../secret.png")
    path = folder / "m.csv"
    path.write_text("image\n" + outside.format(absolute=tmp_path / "secret.png") + "\n")
    (refused,) = open_manifest(path).rows()
    assert isinstance(refused, Refusal)
    assert refused.reason.endswith(", which needs ingest.allow_outside_paths=true")
    params = {"source": "manifest", "path": str(path), "allow_outside_paths": True}
    (row,) = ManifestSource.open(IngestParams.model_validate(params), 0).rows()
    assert isinstance(row, SourceRow)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("\u202aa.png\u202c", "a.png"),
        ("a.png\u00a0", "a.png"),
        ("at 5\u202fPM.png", "at 5\u202fPM.png"),  # as macOS names screenshots
        ("to\u202fdo.png", "to do.png"),
        ("cafe\u0301.png", "cafe\u0301.png"),
        ("\u200eabsent.png", "\u200eabsent.png"),
    ],
)
def test_a_path_is_taken_as_written_or_else_as_it_looks(tmp_path: Path, written: str, found: str) -> None:
    for name in ("a.png", "at 5\u202fPM.png", "to do.png", "cafe\u0301.png"):
        (tmp_path / name).touch()
    path = tmp_path / "m.csv"
    path.write_text(f"image,label\n{written},x\n")
    source = open_manifest(path)
    (row,) = source.rows()
    assert isinstance(row, SourceRow)
    assert isinstance(row.image, SafePath)
    assert (row.path, row.image.path) == (found, tmp_path / found)
    assert any(FOLDED in note for note in source.notes) == (written.strip() != found)


def test_a_path_that_looks_the_same_must_not_lead_out(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("image\n\u200e../a.png\n.\u200e./a.png\n\u202a/etc/passwd\n")
    reasons = [row.reason.split(",")[0] for row in open_manifest(path).rows() if isinstance(row, Refusal)]
    assert reasons == ["the path holds ..", "the path holds ..", "the path is absolute"]


def test_the_shared_catalogue_is_read(shared_data: Path) -> None:
    source = open_manifest(shared_data / "fashion-products" / "manifest.csv")
    rows = list(source.rows())
    assert len(rows) == 11_133
    assert all(isinstance(row, SourceRow) and row.label and row.split for row in rows)


def test_the_fixture_writes_a_valid_manifest(manifest: Callable[..., Path]) -> None:
    rows = list(open_manifest(manifest(count=8)).rows())
    assert len(rows) == 8
    assert not any(isinstance(row, Refusal) for row in rows)
