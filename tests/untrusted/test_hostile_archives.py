"""Shards and Parquet files that are made to do harm cost the rows that do it."""

import json
import tarfile
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hostile_tables import header, pax, rows_of, said, shard, taken, written
from pipeline.inference.images.open import open_pictures
from pipeline.runtime.errors import UserError
from pipeline.sources.base import Refusal, SourceRow
from pipeline.sources.reading import tar_samples
from pipeline.sources.reading.tar_samples import MOST_MEMBERS
from pipeline.statistics.command import statistics_of_table
from pipeline.tables.cells import LONGEST_TEXT, comparable
from pipeline.untrusted.isolation import parquet
from pipeline.untrusted.safe_paths import SafePath

pytestmark = pytest.mark.slow

# --- archives -----------------------------------------------------------------------------------------------


END = bytes(2 * tarfile.BLOCKSIZE)
ARCHIVES: dict[str, bytes] = {
    "chained-long-names": header("x", b"L", b"long\0") * 3000,
    "chained-pax": header("x", b"x", pax({"path": "b.jpg"})) * 3000,
    "chained-global": header("x", b"g", pax({"comment": "b"})) * 3000,
    "endless-header": header("x", b"x", size=8 << 30),
    "long-header": header("x", b"x", b"1" * (300 << 10)),
    "digits-in-header": header("x", b"x", b"1" * (200 << 10)),
    "many-global-fields": header("x", b"g", pax({f"k{n}": "v" for n in range(9000)})) + header("b.jpg", b"0"),
    "wrong-lengths": header("x", b"x", b"0 path=b\n") + header("b.jpg", b"0"),
    "huge-length": header("x", b"x", b"9" * 30 + b" path=b\n"),
    "huge-size": header("x", b"x", pax({"size": "9" * 30})) + header("b.jpg", b"0", b"1"),
    "negative-size": header("x", b"x", pax({"size": "-512"})) + header("b.jpg", b"0", b"1"),
    "infinite-time": header("x", b"x", pax({"mtime": "1e999"})) + header("b.jpg", b"0", b"1"),
    "cut-sparse": header("b.jpg", b"S")[:482] + b"\1" + bytes(29),
    "sparse-map": header("x", b"x", pax({"GNU.sparse.map": "1,a"})) + header("b.jpg", b"0"),
    "sparse-1.0": header("x", b"x", pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}))
    + header("b.jpg", b"0", b"9" * 500),
}


@pytest.mark.parametrize("content", ARCHIVES.values(), ids=ARCHIVES)
def test_samples_before_a_harmful_header_are_kept(tmp_path: Path, content: bytes) -> None:
    good = header("a.jpg", b"0", b"1") + header("a.json", b"0", b"{}") + header("a2.jpg", b"0", b"1")
    path = written(tmp_path / "x/0.tar", good + content + END)
    rows = rows_of("webdataset", path.parent)
    assert taken(rows)[0] == "0.tar/a"


# --- Parquet ------------------------------------------------------------------------------------------------

FAR: dict[str, pa.Array] = {
    "dates": pa.array([0, 2**31 - 1, -(2**31)], pa.date32()),
    "days": pa.array([0, 86_400_000 * 10**8, -86_400_000 * 10**8], pa.date64()),
    "seconds": pa.array([0, 2**62, -(2**62)], pa.timestamp("ms")),
    "nanoseconds": pa.array([0, 2**63 - 1, -(2**63) + 1], pa.timestamp("ns")),
    "zones": pa.array([0, 1, 2], pa.timestamp("us", "Not/AZone")),
    "durations": pa.array([0, 2**62, -(2**62)], pa.duration("s")),
    "times": pa.array([0, 86_400_000_000 * 3, -1], pa.time64("us")),
    "decimals": pa.array([1, None, 10**37], pa.decimal128(38, 0)),
    "nan": pa.array([1.0, float("nan"), float("inf")]),
    "lists": pa.array([[[1]], [], None]),
    "structs": pa.array([{"a": {"b": 1}}, None, {}]),
    "maps": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
    "bytes": pa.array([b"\xff\xfe", b"", None]),
    "nulls": pa.nulls(3),
}


@pytest.mark.parametrize("kind", FAR)
def test_values_beyond_python_cost_their_rows(tmp_path: Path, kind: str) -> None:
    table = pa.table({"image": ["a.png", "b.png", "c.png"], "label": ["x", "x", "y"], "k": FAR[kind]})
    (batch,) = table.to_batches()
    records = list(parquet._records_in(batch))
    assert len(records) == 3
    assert kind == "zones" or isinstance(records[0], dict)
    path = tmp_path / "m.parquet"
    pq.write_table(table, path)
    said(lambda: statistics_of_table(path, "label", ["k"], seed=0))
    said(lambda: statistics_of_table(path, "k", ["label"], seed=0))
    said(lambda: statistics_of_table(path, "k", [], seed=0))


@pytest.mark.parametrize("source", ["manifest", "huggingface"])
def test_rows_with_values_beyond_python_are_refused_and_others_kept(tmp_path: Path, source: str) -> None:
    images = ["a.png", "b.png", "c.png"] if source == "manifest" else [b"1", b"2", b"3"]
    path, kinds = tmp_path / "m.parquet", FAR.keys() - {"zones"}
    pq.write_table(pa.table({"image": images} | {kind: FAR[kind] for kind in sorted(kinds)}), path)
    first, *others = rows_of(source, path, columns={"attributes": sorted(kinds)})
    assert isinstance(first, SourceRow)
    assert [type(row) for row in others] == [Refusal, Refusal]


def test_absurd_columns_of_parquet(tmp_path: Path) -> None:
    path, deep = tmp_path / "m.parquet", pa.string()
    for _ in range(80):
        deep = pa.struct([("a", deep)])
    for name, kind in (("a\0b", pa.string()), ("", pa.string()), ("k", deep)):
        schema = pa.schema([("image", pa.string()), (name, kind)])
        pq.write_table(pa.Table.from_pylist([{"image": "a.png"}], schema), path)
        said(lambda: rows_of("manifest", path))
        said(lambda: statistics_of_table(path, "image", [], seed=0))


def test_a_text_that_a_dictionary_repeats_is_not_held_for_each_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of 10 kB could hold 100 MB of text, and say so for a million rows."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 64, pa.int32()), pa.array(["x" * (1 << 20)]))
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"image": ["a.png"] * 64, "label": text}), path)
    monkeypatch.setattr(parquet, "MOST_AT_ONCE", 8 << 20)
    tracemalloc.start()
    rows = sum(1 for _ in parquet.records(SafePath(path), 4096))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 64
    assert most < 24 << 20
    reasons = {row.reason for row in rows_of("manifest", path) if not isinstance(row, SourceRow)}
    assert reasons == {"a text of more than 131,072 characters"}


def test_a_reader_ends_that_takes_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kilobyte that says twenty gigabytes, to each command that reads strangers' tables."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), pa.array(["x" * (1 << 20)]))
    path = tmp_path / "m.parquet"
    columns = {"image": ["a.png"] * 20_000, "label": ["a", "b"] * 10_000, "text": text}
    pq.write_table(pa.table(columns), path, store_schema=False, compression="zstd")
    assert path.stat().st_size < 2_000
    monkeypatch.setattr(parquet, "MOST_MEMORY", 512 << 20)
    for reading in (
        lambda: statistics_of_table(path, "label", [], seed=0),
        lambda: list(rows_of("manifest", path)),
        lambda: list(parquet.batches(SafePath(path), 1024, ["text"])),
    ):
        with pytest.raises(UserError, match="too large for the memory"):
            reading()


def test_long_texts_are_counted_without_being_held(tmp_path: Path) -> None:
    path, most = tmp_path / "m.parquet", 48 << 20
    schema = pa.schema([("label", pa.string()), ("text", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False) as writer:
        for group in range(16):
            texts = [f"{(64 * group + row) % 1000}{'x' * (LONGEST_TEXT - 3)}" for row in range(64)]
            writer.write_table(pa.table({"label": ["a", "b"] * 32, "text": texts}))
    tracemalloc.start()
    result = statistics_of_table(path, "label", ["text"], seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result.columns[0]["clusters"] == 1000
    assert peak < most


def test_a_footer_that_claims_any_number_of_rows_costs_no_more_than_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"image": [f"{n}.png" for n in range(1000)]}), path, row_group_size=500)
    content = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    content[start : start + 200] = bytes(200)
    path.write_bytes(content)
    rows = rows_of("manifest", path)
    assert taken(rows)[:2] == ["0.png", "1.png"]
    assert len(rows) <= 1000
    assert any(not isinstance(row, SourceRow) and "damaged" in row.reason for row in rows)


@pytest.mark.parametrize("kind", ["dates", "zones", "bytes", "nanoseconds"])
def test_ids_beyond_python_end_embedding_in_a_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"image": [b"1", b"2", b"3"], "id": FAR[kind]}), path)
    sentence = said(lambda: list(open_pictures(path).between(0, 3)))
    assert kind not in ("dates", "zones") or "values in column id that can't be read" in (sentence or "")


def test_columns_of_one_name_end_embedding_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([b"1"]), pa.array([b"2"])], ["image", "image"]), path)
    assert "several columns 'image'" in (said(lambda: list(open_pictures(path).between(0, 1))) or "")


@pytest.fixture
def folded(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The values of fields that were folded to be compared."""
    values: list[object] = []

    def counting(cell: object) -> object:
        values.append(cell)
        return comparable(cell)

    monkeypatch.setattr(tar_samples, "comparable", counting)
    return values


def rows_of_sample(tmp_path: Path, *members: tuple[str, bytes]) -> list[SourceRow | Refusal]:
    """The rows of a shard with a good sample on both sides of one with `members`."""
    path = written(tmp_path / "x/0.tar", shard(("a.jpg", b"1"), *members, ("z.jpg", b"3")))
    first, *between, last = rows_of("webdataset", path.parent)
    assert isinstance(first, SourceRow)
    assert isinstance(last, SourceRow)
    return between


@pytest.mark.parametrize("other", ["a.txt", "more.json"])
def test_files_of_a_sample_are_not_compared_after_they_differ(
    tmp_path: Path, folded: list[object], other: str
) -> None:
    text = json.dumps({"a": "e\u0301" * 1000, "b": "x"}, ensure_ascii=False).encode()
    content = b"" if other == "a.txt" else b'{"a": "", "b": "y"}'
    members = [("x.jpg", b"2"), ("x.json", text), *[(f"x.{other}", content)] * 500]
    (row,) = rows_of_sample(tmp_path, *members)
    assert isinstance(row, Refusal)
    assert row.reason == "the files under the key differ in the field 'a'"
    assert len(folded) == 4, "two values, in each of the two passes"


def test_a_long_text_that_many_files_repeat_is_folded_once(tmp_path: Path, folded: list[object]) -> None:
    """Characters that nobody sees make it equal to a short one."""
    text = "a" + "\u200b" * (LONGEST_TEXT - 1)
    members = [("x.jpg", b"2"), ("x.json", json.dumps({"a": text}).encode()), *[("x.a.txt", b"a")] * 500]
    (row,) = rows_of_sample(tmp_path, *members)
    assert isinstance(row, SourceRow)
    assert folded.count(text) == 2, "once in each of the two passes"


@pytest.mark.parametrize("ending", ["txt", "npy", "jpg"])
def test_files_under_a_key_are_limited(tmp_path: Path, ending: str) -> None:
    members = [("x.jpg", b"2"), *((f"x.{n}.{ending}", b"") for n in range(MOST_MEMBERS - 1))]
    (row,) = rows_of_sample(tmp_path, *members)
    assert isinstance(row, SourceRow)
    (refused,) = rows_of_sample(tmp_path, *members, ("x.last.txt", b""))
    assert isinstance(refused, Refusal)
    assert refused.reason == "more than 1,000 files under the key"


def test_the_json_of_a_sample_is_limited_together(tmp_path: Path) -> None:
    part = json.dumps({"a": "x"}).encode() + b" " * 1_000_000
    members = [("x.jpg", b"2"), *((f"x.{n}.json", part) for n in range(7))]
    (row,) = rows_of_sample(tmp_path, *members)
    assert isinstance(row, SourceRow)
    (refused,) = rows_of_sample(tmp_path, *members, *((f"x.{n}.json", part) for n in (7, 8)))
    assert isinstance(refused, Refusal)
    assert refused.reason == "the JSON under the key is larger than 8 MiB"
