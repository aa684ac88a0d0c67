"""Whatever strangers' tables hold, their readers refuse a row or say a sentence, soon and in little memory.

Each content of a cell is given to each reader that can hold it, between a good row before and one behind.
"""

import io
import json
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.delimited import LONGEST_CELL, LONGEST_LINE
from pipeline.edges import paths_from_root
from pipeline.errors import UserError
from pipeline.ingest.params import IngestParams
from pipeline.schema import REJECTS_SCHEMA, images_schema
from pipeline.sources.base import Refusal, SourceRow
from pipeline.sources.checked import checked
from pipeline.sources.registry import open_source
from pipeline.statistics.command import statistics_of_table

MOST_SECONDS = 10

JSON_VALUES = {
    "deep": "[" * 300 + "]" * 300,
    "deeper": "[" * 100_000 + "]" * 100_000,
    "deep-objects": '{"a":' * 5000 + "1" + "}" * 5000,
    "unclosed": "[" * 100_000,
    "digits": "9" * 5000,
    "negative-digits": "-" + "9" * 5000,
    "huge": "1e400",
    "small": "-1e400",
    "nan": "NaN",
    "infinity": "-Infinity",
    "surrogate": '"\\ud800"',
    "nul": '"\\u0000"',
    "long": '"' + "x" * 200_000 + '"',
    "list": "[1, [2], {}]",
    "object": '{"a": {"b": null}}',
    "none": "",
}
CELLS = {
    "long": b"x" * 200_000,
    "longer": b"x" * (LONGEST_CELL + 1),
    "nul": b"a\0b",
    "not-utf8": b"\xff\xfe\xfa",
    "surrogate": b"\xed\xa0\x80",
    "digits": b"9" * 5000,
    "quote": b'"',
    "quotes": b'""""',
    "formula": b"=1+1",
    "bom": b"\xef\xbb\xbfa",
    "separators": "a\u2028b\u0085c\x1cd\x0be".encode(),
    "deep-path": b"a/" * 1200 + b"b",
}


def rows_of(source: str, path: Path, **choices: Any) -> list[SourceRow | Refusal]:
    """As ingest takes them: what passes the checks of every source can be stored."""
    started = time.perf_counter()
    params = IngestParams.model_validate({"source": source, "path": str(path), **choices})
    opened = open_source(params, 0)
    rows = list(checked(opened.rows()))
    stored = [
        {
            "id": row.id,
            "label": row.label,
            "hashtags": row.hashtags,
            "hierarchy": row.hierarchy,
            "image": {"bytes": b"", "path": row.path},
            "width": 1,
            "height": 1,
            "attributes": row.attributes or None,
        }
        for row in rows
        if isinstance(row, SourceRow)
    ]
    pa.Table.from_pylist(stored, images_schema(opened.attribute_names)).validate(full=True)
    refused = [{"where": row.where, "reason": row.reason} for row in rows if isinstance(row, Refusal)]
    pa.Table.from_pylist(refused, REJECTS_SCHEMA).validate(full=True)
    assert all(len(row["reason"]) < 1000 for row in refused)
    assert time.perf_counter() - started < MOST_SECONDS
    return rows


def taken(rows: list[SourceRow | Refusal]) -> list[str]:
    return [row.path for row in rows if isinstance(row, SourceRow)]


def said(read: Callable[[], Any]) -> str | None:
    """The sentence with which `read` ends, if it does."""
    started, sentence = time.perf_counter(), None
    try:
        read()
    except UserError as error:
        sentence = str(error)
    assert len(sentence or "") < 4000
    assert time.perf_counter() - started < MOST_SECONDS
    return sentence


def written(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return path


# --- JSON ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", JSON_VALUES.values(), ids=JSON_VALUES)
def test_a_value_of_json_lines_costs_its_row_alone(tmp_path: Path, value: str) -> None:
    good = '{"image": "%s.png", "label": "x", "kind": 1}'
    lines = [good % "a", f'{{"image": "b.png", "label": "y", "kind": {value}}}', value, good % "c"]
    path = written(tmp_path / "m.jsonl", "\n".join(lines))
    assert [name for name in taken(rows_of("manifest", path)) if name != "b.png"] == ["a.png", "c.png"]
    said(lambda: statistics_of_table(path, "label", ["kind"], seed=0))
    said(lambda: statistics_of_table(path, "kind", [], seed=0))


@pytest.mark.parametrize("value", ["deep", "digits", "unclosed", "nul"])
def test_keys_and_top_levels_of_json(tmp_path: Path, value: str) -> None:
    path = written(tmp_path / "m.jsonl", f'{JSON_VALUES[value]}\n{{"\\ud800": 1}}\n{{"image": "a.png"}}\n')
    assert taken(rows_of("manifest", path)) == ["a.png"]
    assert said(lambda: statistics_of_table(path, "image", [], seed=0))


def shard(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("value", JSON_VALUES.values(), ids=JSON_VALUES)
def test_a_value_in_a_shard_costs_its_sample_alone(tmp_path: Path, value: str) -> None:
    members = [("a.jpg", b"1"), ("a.json", b'{"kind": 1}'), ("b.jpg", b"2"), ("b.json", b"%b")]
    members[3] = ("b.json", f'{{"kind": {value}}}'.encode())
    path = written(tmp_path / "x/0.tar", shard(*members, ("c.jpg", b"3"), ("c.json", value.encode())))
    assert "0.tar/a" in taken(rows_of("webdataset", path.parent))


def huggingface(path: Path, metadata: str, **columns: Any) -> Path:
    table = pa.table({"image": [b"1", b"2"], "label": [0, 1]} | columns)
    pq.write_table(table.replace_schema_metadata({"huggingface": metadata}), path)
    return path


@pytest.mark.parametrize("value", JSON_VALUES.values(), ids=JSON_VALUES)
def test_metadata_of_hugging_face(tmp_path: Path, value: str) -> None:
    for metadata in (value, f'{{"info": {{"features": {{"label": {value}}}}}}}'):
        rows = rows_of("huggingface", huggingface(tmp_path / "a.parquet", metadata))
        assert len(taken(rows)) == 2
    names = f'{{"info": {{"features": {{"label": {{"_type": "ClassLabel", "names": ["a", {value}]}}}}}}}}'
    assert len(rows_of("huggingface", huggingface(tmp_path / "a.parquet", names))) == 2


def wider(folder: Path, value: str) -> Path:
    (folder / "Image").mkdir()
    person = '{"attribute": [%s]}'
    entry = '{"file_name": "%s.jpg", "scene_id": 0, "targets": [%s]}'
    entries = [entry % ("a", person % "1"), entry % ("b", person % value), value or "null"]
    entries += [entry % ("c", value), '{"file_name": %s, "scene_id": 0, "targets": []}' % (value or "1")]
    for split in ("trainval", "test"):
        content = (
            f'{{"images": [{", ".join(entries)}], "attribute_id_map": {{"0": "hat"}}, "scene_id_map": {{}}}}'
        )
        written(folder / f"wider_attribute_{split}.json", content)
    return folder


@pytest.mark.parametrize("value", JSON_VALUES.values(), ids=JSON_VALUES)
def test_annotations_of_wider(tmp_path: Path, value: str) -> None:
    folder = wider(tmp_path, value)
    with suppress(UserError):
        assert "a.jpg" in taken(rows_of("wider_attribute", folder))


def test_numbers_of_attributes_that_no_number_can_be(tmp_path: Path) -> None:
    folder = wider(tmp_path, "1")
    table = {"images": [], "attribute_id_map": {"9" * 5000: "hat"}, "scene_id_map": {}}
    written(folder / "wider_attribute_test.json", json.dumps(table))
    written(folder / "wider_attribute_trainval.json", json.dumps(table))
    assert "take the published file" in (said(lambda: rows_of("wider_attribute", folder)) or "")


# --- CSV ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_a_cell_costs_its_row_alone(tmp_path: Path, cell: bytes, end: bytes) -> None:
    lines = [b"image,label,kind", b"a.png,x,1", b"b.png,y," + cell, cell + b",y,1", b"c.png,x,1", b""]
    path = written(tmp_path / "m.csv", end.join(lines))
    rows = taken(rows_of("manifest", path))
    assert rows[0] == "a.png"
    # What follows an open quote is its cell.
    assert rows[-1] == "c.png" or cell == CELLS["quote"]
    said(lambda: statistics_of_table(path, "label", ["kind"], seed=0))


def test_what_follows_an_open_quote_is_read_again_behind_the_longest_cell(tmp_path: Path) -> None:
    filler = b"x,y,z\n" * (LONGEST_CELL // 6 + 1)
    path = written(tmp_path / "m.csv", b'image,label,kind\na.png,x,1\nb.png,"y,1\n' + filler + b"c.png,x,1\n")
    rows = rows_of("manifest", path)
    (refused,) = (row for row in rows if isinstance(row, Refusal))
    assert "nor are those from 3 on" in refused.reason
    assert taken(rows)[-1] == "c.png"


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.jsonl"])
def test_a_line_without_end_costs_itself(tmp_path: Path, name: str) -> None:
    rows = {"m.csv": "image,label\n{}", "m.tsv": "image\tlabel\n{}", "m.jsonl": '{{"image": "a.png"}}\n{}'}
    more = {"m.csv": "c.png,x\n", "m.tsv": "c.png\tx\n", "m.jsonl": '{"image": "c.png"}\n'}[name]
    path = written(tmp_path / name, rows[name].format("x" * (LONGEST_LINE + 5) + "\n" + more))
    found = rows_of("manifest", path)
    assert taken(found)[-1] == "c.png"
    assert any(isinstance(row, Refusal) and "longer than 8,388,608" in row.reason for row in found)


@pytest.mark.parametrize(
    "header",
    [b"image,a,a", b"image,\xff", b"\xff\xfei\0m\0", b"image,a\0", b"x" * 200, b"", b"\n\n", b'"image', b","],
)
@pytest.mark.parametrize("name", ["m.csv", "m.tsv"])
def test_headers(tmp_path: Path, header: bytes, name: str) -> None:
    path = written(tmp_path / name, header + b"\na.png,1,2\n")
    assert said(lambda: rows_of("manifest", path))
    said(lambda: statistics_of_table(path, "image", [], seed=0))


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_tables_of_the_papers(tmp_path: Path, cell: bytes) -> None:
    tables = tmp_path / "tables"
    for name in ("train", "val"):
        lines = [b",kind,class,path", b"0,1,2,a-%b.png" % name.encode(), b"1,%b,2,b.png" % cell, cell]
        written(tables / f"meta_data_{name}.csv", b"\n".join([*lines, b"3,1,2,c-%b.png\n" % name.encode()]))
    found = taken(rows_of("clinfonce_tables", tables))
    assert found[0] == "a-train.png"
    assert found[-1] == "c-val.png" or cell == CELLS["quote"]
    shoes = tmp_path / "shoes"
    for name in ("1-1.jpg", "2-2.jpg"):
        written(shoes / f"ut-zap50k-images/Boots/Knee/X/{name.replace('-', '.')}", b"1")
    for name, header in (("meta-data", b"CID,Category,SubCategory,Gender"), ("meta-data-bin", b"CID,Men")):
        rows = [b"1-1,Boots,Knee,Men", b"9-9,%b,x,y" % cell, b"%b,a,b,c" % cell, b"2-2,Boots,Knee,Men\n"]
        rows = rows if name == "meta-data" else [b"1-1,0", b"9-9," + cell, cell, b"2-2,1\n"]
        written(shoes / f"ut-zap50k-data/{name}.csv", b"\n".join([header, *rows]))
    paths = taken(rows_of("ut_zappos50k", shoes))
    assert paths[0] == "Boots/Knee/X/1.1.jpg"
    assert paths[-1] == "Boots/Knee/X/2.2.jpg" or cell == CELLS["quote"]


# --- lines --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_lists_trees_and_tables_of_lines(tmp_path: Path, cell: bytes) -> None:
    tree = written(tmp_path / "edges.csv", b"a,b\n%b,c\nb,%b\n" % (cell, cell))
    said(lambda: paths_from_root(tree, ["a"], "first", "cluster.hierarchy.edges"))
    net = tmp_path / "net"
    written(net / "train/n1/a.jpg", b"1")
    written(net / "words.txt", b"n1 cat\n" + cell + b" x\n")
    classes = written(tmp_path / "classes.txt", b"n1\n" + cell + b"\n")
    said(lambda: rows_of("imagenet", net, imagenet={"classes": str(classes), "edges": str(tree)}))
    assert taken(rows_of("imagenet", net)) == ["train/n1/a.jpg"]
    birds = tmp_path / "birds"
    (birds / "images").mkdir(parents=True)
    tables = {"images": b"1 a.jpg\n%b b.jpg\n2 %b", "classes": b"1 bird\n%b x", "image_class_labels": b"1 1"}
    tables |= {"train_test_split": b"1 1\n2 0\n%b 1", "attributes": b"1 wing\n%b leg"}
    for name, content in tables.items():
        written(birds / f"{name}.txt", content.replace(b"%b", cell) + b"\n")
    written(birds / "attributes/image_attribute_labels.txt", b"1 1 1 3 1\n" + cell + b" 1 1 1\n")
    with suppress(UserError):
        assert "a.jpg" in taken(rows_of("cub200", birds))


def test_a_chain_of_parents_ends(tmp_path: Path) -> None:
    tree = written(tmp_path / "edges.csv", "".join(f"{n},{n + 1}\n" for n in range(50_000)))
    assert "levels above 0" in (said(lambda: paths_from_root(tree, ["0"], "first", "x")) or "")
    assert len(paths_from_root(tree, ["49500"], "first", "x")["49500"]) == 501


# --- archives -----------------------------------------------------------------------------------------------


def header(name: str, kind: bytes, content: bytes = b"", size: int | None = None) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, len(content) if size is None else size
    padded = content + bytes(-len(content) % tarfile.BLOCKSIZE)
    return member.tobuf(tarfile.GNU_FORMAT) + padded


def pax(fields: dict[str, str]) -> bytes:
    records = b""
    for key, value in fields.items():
        body = f" {key}={value}\n".encode()
        length = len(body) + len(str(len(body)))
        length += len(str(length)) - len(str(len(body)))
        records += str(length).encode() + body
    return records


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
    path = tmp_path / "m.parquet"
    pq.write_table(
        pa.table({"image": ["a.png", "b.png", "c.png"], "label": ["x", "x", "y"], "k": FAR[kind]}), path
    )
    choices = {"columns": {"attributes": ["k"]}}
    assert kind == "zones" or taken(rows_of("manifest", path, **choices))[0] == "a.png"
    said(lambda: statistics_of_table(path, "label", ["k"], seed=0))
    said(lambda: statistics_of_table(path, "k", ["label"], seed=0))
    said(lambda: statistics_of_table(path, "k", [], seed=0))
    pq.write_table(pa.table({"image": [b"1", b"2", b"3"], "k": FAR[kind]}), path)
    rows = rows_of("huggingface", path, **choices)
    assert len(rows) == 3
    assert kind == "zones" or isinstance(rows[0], SourceRow)


def test_absurd_columns_of_parquet(tmp_path: Path) -> None:
    path, deep = tmp_path / "m.parquet", pa.string()
    for _ in range(80):
        deep = pa.struct([("a", deep)])
    for name, kind in (("a\0b", pa.string()), ("", pa.string()), ("k", deep)):
        schema = pa.schema([("image", pa.string()), (name, kind)])
        pq.write_table(pa.Table.from_pylist([{"image": "a.png"}], schema), path)
        said(lambda: rows_of("manifest", path))
        said(lambda: statistics_of_table(path, "image", [], seed=0))


# --- any ----------------------------------------------------------------------------------------------------

PIECES = [value[:2000].encode() for value in JSON_VALUES.values()]
PIECES += [cell[:3000] for cell in CELLS.values()] + [b"%c" % sign for sign in b'{}[]",:;\t\n\r0-#=']
PIECES += [b"image", b"label"]
STARTS = {
    "m.csv": b"image,label\n",
    "m.tsv": b"image\tlabel\n",
    "m.jsonl": b'{"image": "a.png", "label": 1}\n',
}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from(list(STARTS)), st.booleans())
def test_any_table(tmp_path: Path, pieces: list[bytes], name: str, start: bool) -> None:
    path = written(tmp_path / name, STARTS[name] * start + b"".join(pieces))
    said(lambda: rows_of("manifest", path))
    said(lambda: statistics_of_table(path, "label", [], seed=0))
