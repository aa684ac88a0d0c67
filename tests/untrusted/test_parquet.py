"""Strangers' Parquet, read in a process of its own: what it holds comes back, or why it does not."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.runtime.errors import UserError
from pipeline.storage.checksums import write_checksummed
from pipeline.untrusted.isolation import parquet, parquet_reader
from pipeline.untrusted.isolation.parquet import (
    Damaged,
    NotParquet,
    batches,
    json_in_metadata,
    parquet_headers,
    records,
)
from pipeline.untrusted.isolation.plain_types import size_in_python
from pipeline.untrusted.safe_paths import Boundary, SafePath
from support import at_once
from untrusted.parquet_table import ROWS, write_grouped

pytestmark = pytest.mark.slow


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_grouped(tmp_path)


def test_all_that_the_file_holds_comes_back(path: Path) -> None:
    whole = pq.read_table(path)
    (outline,) = parquet_headers([SafePath(path)])
    assert (outline.rows, outline.schema) == (ROWS, whole.schema)
    assert outline.schema.metadata == whole.schema.metadata
    assert list(records(SafePath(path), 15)) == whole.to_pylist()
    assert (
        list(records(SafePath(path), 100, ["tags", "label"])) == whole.select(["label", "tags"]).to_pylist()
    )


def test_who_wants_no_more_ends_the_reader(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table = pa.table({"image": [bytes(100_000)] * 40})
    pq.write_table(table, path, compression="none", use_dictionary=False)
    taken = records(SafePath(path), 1)
    next(taken)
    assert isinstance(taken, Generator)
    taken.close()
    # One that went on would tell that nobody listens.
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "spans", [[(0, 50)], [(0, 1)], [(49, 50)], [(19, 21)], [(3, 5), (4, 30), (44, 46)], [(20, 40)], []]
)
@pytest.mark.parametrize("rows", [1, 7, 100])
def test_stretches_of_rows(path: Path, rows: int, spans: list[tuple[int, int]]) -> None:
    whole = pq.read_table(path, columns=["tags"]).to_pylist()
    found = []
    for batch in batches(SafePath(path), rows, ["tags"], spans):
        assert not isinstance(batch, Damaged)
        found.append(batch)
    assert [row for batch in found for row in batch.to_pylist()] == [
        row for start, stop in spans for row in whole[start:stop]
    ]
    assert max(map(len, found), default=0) <= rows


def test_a_batch_is_cut_to_what_its_reader_may_hold(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MOST_AT_ONCE", 4000)
    texts = ["a" * 300, "b" * 2000, "c" * 400, "d" * 300, "e" * 900, None]
    pq.write_table(pa.table({"a": texts}), path)
    parts = list(batches(SafePath(path), 100))
    assert all(size_in_python(part.column(0)) <= 4000 for part in parts if not isinstance(part, Damaged))
    assert [part.rows for part in parts if isinstance(part, Damaged)] == [1]
    kept = [row["a"] for part in parts if not isinstance(part, Damaged) for row in part.to_pylist()]
    assert kept == [text for text in texts if text != "b" * 2000]


def test_what_a_list_repeats_is_counted(path: Path) -> None:
    """Arrow would hand a dictionary over, whose size is that of one text."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 8, pa.int32()), pa.array(["x" * 100]))
    kinds = {
        "list": pa.ListArray.from_arrays(pa.array([0, 5, 8], pa.int32()), text),
        "large": pa.LargeListArray.from_arrays(pa.array([0, 5, 8], pa.int64()), text),
        "struct": pa.StructArray.from_arrays([text.slice(0, 2)], ["a"]),
        "map": pa.MapArray.from_arrays(pa.array([0, 5, 8], pa.int32()), pa.array(list("abcdeabc")), text),
        "deep": pa.StructArray.from_arrays(
            [pa.ListArray.from_arrays(pa.array([0, 5, 8], pa.int32()), text)], ["a"]
        ),
        "fixed": pa.FixedSizeListArray.from_arrays(text, 4),
        "extension": pa.ExtensionArray.from_storage(
            pa.opaque(pa.list_(text.type), "a", "b"),
            pa.ListArray.from_arrays(pa.array([0, 5, 8], pa.int32()), text),
        ),
    }
    table = pa.table(kinds)
    pq.write_table(table, path)
    assert str(parquet_headers([SafePath(path)])[0].schema).count("dictionary") >= len(kinds)
    (batch,) = batches(SafePath(path), 10)
    assert not isinstance(batch, Damaged)
    expected = [
        row | {"map": [{"key": key, "value": value} for key, value in row["map"]]}
        for row in table.to_pylist()
    ]
    assert batch.to_pylist() == expected
    assert "dictionary" not in str(batch.schema)


def test_a_category_that_is_no_text_costs_its_rows(path: Path) -> None:
    categories = pa.array([b"red", b"\xff\xfe"]).view(pa.string())
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0, 0, 1], pa.int32()), categories)
    pq.write_table(pa.table({"colour": column}), path)
    found = [row if isinstance(row, Damaged) else row["colour"] for row in records(SafePath(path), 10)]
    assert [colour for colour in found if isinstance(colour, str)] == ["red"] * 3
    assert len(found) == 5


@pytest.mark.parametrize("rows", [10**8, 9 * 10**18])
def test_rows_that_a_file_cannot_hold_are_not_believed(
    path: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Footer:
        num_rows, num_row_groups = rows, 1

        def row_group(self, _number: int) -> "Footer":
            return self

    with pytest.raises(ValueError, match=r"claims [\d,]+ rows, more than 900 bytes can hold"):
        parquet_reader._counted_rows(Footer(), 900)
    assert parquet_reader._counted_rows(Footer(), rows) == rows


def test_a_file_that_is_replaced_by_another_table_is_noticed(path: Path) -> None:
    pq.write_table(pa.table({"other": [1]}), path)
    with pytest.raises(UserError, match="its columns are others than when it was opened"):
        list(batches(SafePath(path), 10, ["label"]))


def test_types_that_cannot_be_sent_are_named(path: Path) -> None:
    kind = pa.string()
    for _ in range(64):
        kind = pa.struct([("a", kind)])
    pq.write_table(pa.table({"k": pa.nulls(1, kind)}), path)
    with pytest.raises(NotParquet, match="its column k: lists and structs are nested more than 50 deep"):
        parquet_headers([SafePath(path)])


def test_a_checksum_that_does_not_fit_is_named(path: Path) -> None:
    write_checksummed(pq.read_table(path), path)
    assert parquet_headers([SafePath(path)])[0].checksummed
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(NotParquet, match="its bytes are not those that were written"):
        parquet_headers([SafePath(path)])


def test_columns_whose_names_look_like_parts_of_others(path: Path) -> None:
    table = pa.table({"a": [{"b": 1}], "a.b": ["x"], "c": [2]})
    pq.write_table(table, path)
    assert list(records(SafePath(path), 10, ["a.b", "c"])) == [{"a.b": "x", "c": 2}]
    assert list(records(SafePath(path), 10)) == table.to_pylist()


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2**60], pa.timestamp("us")),
        pa.StructArray.from_arrays([[1], [2]], ["a", "a"]),
    ],
)
def test_what_python_cannot_hold_is_damage(path: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"when": column}), path)
    (damaged,) = records(SafePath(path), 10)
    assert isinstance(damaged, Damaged)
    assert damaged.rows == 1


def thrift_footer(path: Path, row_groups: int, chunks: int) -> None:
    """A footer whose row groups have so many columns of three bytes each, which take 700 in memory."""

    def varint(number: int) -> bytes:
        written = b""
        while number > 0x7F:
            written += bytes([number & 0x7F | 0x80])
            number >>= 7
        return written + bytes([number])

    def listing(length: int) -> bytes:
        return bytes([length << 4 | 12]) if length < 15 else b"\xfc" + varint(length)

    root = b"\x48" + varint(6) + b"schema" + b"\x15" + varint(2) + b"\0"
    leaf = b"\x15" + varint(12) + b"\x25" + varint(2) + b"\x18" + varint(5) + b"image\0"
    group = b"\x19" + listing(chunks) + b"\x26\0\0" * chunks + b"\x16\0\x16\0\0"
    footer = b"\x15" + varint(4) + b"\x19" + listing(2) + root + leaf + b"\x16\0\x19" + listing(row_groups)
    footer += group * row_groups + b"\0"
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")


def test_a_footer_that_takes_much_memory_ends_its_reader(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: 30 MB of Parquet took 7 GB. Cause: a footer is decoded outside of Arrow's memory."""
    monkeypatch.setattr(parquet, "MOST_MEMORY", 500 << 20)
    thrift_footer(path, row_groups=2, chunks=600_000)
    with pytest.raises(UserError, match=r"ends the process that reads it \(signal 9\)"):
        parquet_headers([SafePath(path)])


def test_a_list_of_nested_structs_is_no_more_than_one_row_may_take(path: Path) -> None:
    """Each of them is a dict of 184 bytes at every level, where its one value takes a bit in the file."""
    kind = pa.struct([("a", pa.bool_())])
    value: dict[str, Any] = {"a": True}
    for _ in range(45):
        kind, value = pa.struct([("a", kind)]), {"a": value}
    nested = pa.array([[value] * 20_000], pa.list_(kind))
    pq.write_table(pa.table({"x": nested, "label": ["a"]}), path)
    (row,) = records(SafePath(path), 1)
    assert row == Damaged(1, "the row takes more than 160 MiB")


@pytest.mark.parametrize(
    ("of", "store_schema"), [("metadata", True), ("field", True), ("column", True), ("column", False)]
)
def test_a_schema_of_many_bytes_is_refused_where_it_is_read(path: Path, of: str, store_schema: bool) -> None:
    """The process that asked would hold it, and parse what it holds."""
    long = b"[]," * (12 << 20)
    field = pa.field("x" if of != "column" else "x" * len(long), pa.int8())
    if of == "field":
        field = field.with_metadata({b"a": long})
    table = pa.table([pa.array([1], pa.int8())], schema=pa.schema([field]))
    if of == "metadata":
        table = table.replace_schema_metadata({b"huggingface": long})
    pq.write_table(table, path, store_schema=store_schema)
    with pytest.raises(NotParquet, match=r"^its columns and metadata take more than 32 MiB$"):
        parquet_headers([SafePath(path)])
    with pytest.raises(UserError, match="its columns and metadata take more than 32 MiB"):
        list(records(SafePath(path), 1))


def test_long_texts_in_the_metadata_are_not_parsed(path: Path) -> None:
    table = pa.table({"x": [1]}).replace_schema_metadata(
        {b"short": b'{"a": [1]}', b"long": b"[" + b"0," * (3 << 20)}
    )
    pq.write_table(table, path)
    (header,) = parquet_headers([SafePath(path)])
    assert json_in_metadata(header.schema, b"short") == {"a": [1]}
    for key, why in ((b"long", "^more than 4 MiB$"), (b"none", "Expecting value")):
        with pytest.raises(ValueError, match=why):
            json_in_metadata(header.schema, key)


def test_what_is_no_parquet_is_named(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    other.write_bytes(b"no Parquet file")
    with pytest.raises(NotParquet, match="Parquet magic bytes not found") as found:
        parquet_headers([SafePath(path), SafePath(other)])
    assert found.value.path == SafePath(other)


def test_a_damaged_row_group_leaves_the_others(path: Path) -> None:
    metadata = pq.read_metadata(path)
    chunk = metadata.row_group(1).column(0)
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset : chunk.data_page_offset + 20] = bytes(20)
    path.write_bytes(content)
    numbers = [
        record if isinstance(record, Damaged) else record["tags"] for record in records(SafePath(path), 100)
    ]
    assert len(numbers) == 20 + 1 + 10
    damaged = numbers[20]
    assert isinstance(damaged, Damaged)
    assert damaged.rows == 20
    assert damaged.why


def test_a_file_that_is_gone_is_reported(path: Path) -> None:
    path.unlink()
    with pytest.raises(UserError, match=f"^{path} can't be read any more: the file does not exist"):
        list(records(SafePath(path), 100))


def test_what_stands_in_place_of_a_file_is_not_waited_for(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)
    with at_once(30):
        with pytest.raises(NotParquet, match="a pipe, socket or device, not a file"):
            parquet_headers([SafePath(path)])
        with pytest.raises(UserError, match="can't be read any more: a pipe, socket or device, not a file"):
            list(records(SafePath(path), 100))


def test_the_boundary_holds_in_the_reader(path: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    link = tmp_path / "source/link.parquet"
    link.symlink_to(path)
    boundary = Boundary.around(tmp_path / "source", "which an option would allow")
    with pytest.raises(NotParquet, match="a link leads out of the source's folder, which an option would"):
        parquet_headers([SafePath(link, boundary)])
    assert parquet_headers([SafePath(link)])[0].rows == ROWS
