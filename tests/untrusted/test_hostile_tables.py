"""Whatever strangers' tables hold, their readers refuse a row or say a sentence, soon and in little memory.

Each content of a cell is given to each reader that can hold it, between a good row before and one behind.
"""

import json
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostile_tables import CELLS, JSON_VALUES, rows_of, said, shard, taken, written
from pipeline.ingest import chunks as parts
from pipeline.runtime.errors import UserError
from pipeline.sources import registry
from pipeline.sources.base import Refusal, SourceRow
from pipeline.sources.reading.row_checks import checked
from pipeline.sources.registry import open_source
from pipeline.statistics.command import statistics_of_table
from pipeline.tables import lines as lines_module
from pipeline.tables import records
from pipeline.tables.class_labels import class_names
from pipeline.tables.delimited import LONGEST_CELL, CsvRows
from pipeline.tables.edge_list import paths_from_root
from pipeline.tables.lines import LONGEST_LINE, NotARow, open_text
from pipeline.tables.records import MOST_COLUMNS, names_in
from pipeline.untrusted.safe_paths import SafePath
from support import params_with

pytestmark = pytest.mark.slow

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


@pytest.mark.parametrize("value", ["deep", "digits"])
def test_metadata_of_hugging_face(tmp_path: Path, value: str) -> None:
    path = huggingface(
        tmp_path / "a.parquet", f'{{"info": {{"features": {{"label": {JSON_VALUES[value]}}}}}}}'
    )
    assert len(taken(rows_of("huggingface", path))) == 2


@pytest.mark.parametrize("value", JSON_VALUES.values(), ids=JSON_VALUES)
def test_features_of_hugging_face(value: str) -> None:
    forms = [
        "{}",
        '{{"info": {}}}',
        '{{"info": {{"features": {}}}}}',
        '{{"info": {{"features": {{"label": {}}}}}}}',
    ]
    for form in forms:
        assert class_names(pa.schema([], {"huggingface": form.format(value)})) == {}
    names = f'{{"info": {{"features": {{"label": {{"_type": "ClassLabel", "names": ["a", {value}]}}}}}}}}'
    assert len(class_names(pa.schema([], {"huggingface": names}))) <= 1


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
    assert rows[-1] == "c.png"
    said(lambda: statistics_of_table(path, "label", ["kind"], seed=0))


@pytest.mark.parametrize("lines", [1, 20])
def test_what_follows_an_open_quote_is_read_again(tmp_path: Path, lines: int) -> None:
    """To the end of the file, or of the longest cell."""
    filler = b"x,y,%b\n" % (b"z" * (LONGEST_CELL // 10)) * lines
    path = written(tmp_path / "m.csv", b'image,label,kind\na.png,x,1\nb.png,"y,1\n' + filler + b"c.png,x,1\n")
    rows = rows_of("manifest", path)
    refused = [row for row in rows if isinstance(row, Refusal)]
    assert refused[0].where == "m.csv line 3"
    assert "nothing closes its quote" in refused[0].reason
    assert [row.where for row in refused[1:]] == [f"m.csv line {4 + n}" for n in range(1, lines)]
    assert taken(rows) == ["a.png", "x", "c.png"]


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


# --- columns ------------------------------------------------------------------------------------------------

TOO_MANY = [f"c{n}" for n in range(MOST_COLUMNS + 1)]


def wide(path: Path, names: list[str], rows: int) -> Path:
    """A manifest, or shards of tar or of Parquet, with a column for each of `names`."""
    ending = path.suffix
    if ending == ".parquet":
        images = {"image": pa.array([b"1"] * rows) if "train" in path.name else ["a.png"] * rows}
        pq.write_table(pa.table(images | dict.fromkeys(names, pa.array(["x"] * rows))), path)
        return path
    if ending == ".tar":
        samples = [(f"{n}.json", json.dumps(dict.fromkeys(names, 7)).encode()) for n in range(rows)]
        pictures = [(f"{n}.jpg", b"1") for n in range(rows)]
        return written(path, shard(*chain.from_iterable(zip(pictures, samples, strict=True))))
    with path.open("w") as file:
        separator = "\t" if ending == ".tsv" else ","
        if ending != ".jsonl":
            file.write(separator.join(["image", *names]) + "\n")
        for n in range(rows):
            values = {"image": f"{n}.png"} | dict.fromkeys(names, f"value {n}")
            file.write((json.dumps(values) if ending == ".jsonl" else separator.join(values.values())) + "\n")
    return path


WIDE = {
    **dict.fromkeys(("m.csv", "m.tsv", "m.jsonl", "m.parquet"), "manifest"),
    "train.parquet": "huggingface",
    "0.tar": "webdataset",
}


@pytest.mark.parametrize("name", WIDE)
def test_a_table_of_too_many_columns_is_refused_unless_some_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for module in (records, registry):
        monkeypatch.setattr(module, "MOST_COLUMNS", 100)
    path = wide(tmp_path / name, TOO_MANY[:101], 1)
    sentence = said(lambda: rows_of(WIDE[name], path)) or ""
    assert "has 101 attribute columns, more than the limit of 100" in sentence
    assert "name those to use in ingest.columns.attributes" in sentence
    (row,) = rows_of(WIDE[name], path, columns={"attributes": ["c3", "c100"]})
    assert isinstance(row, SourceRow)
    assert list(row.attributes) == ["c3", "c100"]
    (whole,) = rows_of(WIDE[name], wide(tmp_path / name, TOO_MANY[:100], 1))
    assert isinstance(whole, SourceRow)
    assert list(whole.attributes) == TOO_MANY[:100]


def papers_tables(folder: Path) -> None:
    written(folder / "meta_data_train.csv", ",class,path," + ",".join(TOO_MANY) + "\n0,1,a.png\n")
    written(folder / "meta_data_val.csv", ",class,path\n0,1,b.png\n")


def birds(folder: Path) -> None:
    (folder / "images").mkdir()
    for name in ("images", "classes", "image_class_labels", "train_test_split"):
        written(folder / f"{name}.txt", "1 1\n")
    written(folder / "attributes.txt", "".join(f"{n} {name}\n" for n, name in enumerate(TOO_MANY)))
    written(folder / "attributes/image_attribute_labels.txt", "")


def persons(folder: Path) -> None:
    wider(folder, "1")
    names = {str(n): name for n, name in enumerate(TOO_MANY)}
    table = {"images": [], "attribute_id_map": names, "scene_id_map": {}}
    written(folder / "wider_attribute_trainval.json", json.dumps(table))


@pytest.mark.parametrize(
    ("source", "make"),
    [("clinfonce_tables", papers_tables), ("cub200", birds), ("wider_attribute", persons)],
)
def test_layouts_of_too_many_attributes_are_refused(
    tmp_path: Path, source: str, make: Callable[[Path], None]
) -> None:
    make(tmp_path)
    assert "has 10,001 attribute columns" in (said(lambda: rows_of(source, tmp_path)) or "")


def test_columns_are_looked_for_in_no_more_records_than_needed() -> None:
    """Each record of a table may bring new ones."""
    records = ({f"{n}-{k}": 1 for k in range(4000)} for n in count())
    assert len(names_in(records)[0]) == 12_000
    assert next(records).keys() >= {"3-0"}
    assert names_in([{"b": 1}, {}, {"a": [1], "b": 2}]) == (["b", "a"], ["a"])


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.jsonl"])
def test_rows_of_many_columns_are_held_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(parts, "BYTES_PER_CHUNK", 1 << 20)
    path = wide(tmp_path / name, TOO_MANY[:2000], 60)
    source = open_source(params_with(ingest={"source": "manifest", "path": str(path)}).ingest, 0)
    tracemalloc.start()
    rows = sum(map(len, parts.cut(checked(source.rows()))))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 60
    assert most < 5 << 20


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
    assert len(paths_from_root(tree, ["49950"], "first", "x").of_leaf["49950"]) == 51


# --- any ----------------------------------------------------------------------------------------------------

PIECES = [value[:2000].encode() for value in JSON_VALUES.values()]
PIECES += [cell[:3000] for cell in CELLS.values()] + [b"%c" % sign for sign in b'{}[]",:;\t\n\r0-#=']
PIECES += [b"image", b"label"]
STARTS = {
    "m.csv": b"image,label\n",
    "m.tsv": b"image\tlabel\n",
    "m.jsonl": b'{"image": "a.png", "label": 1}\n',
}


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from(list(STARTS)), st.booleans())
def test_any_table(tmp_path: Path, pieces: list[bytes], name: str, start: bool) -> None:
    path = written(tmp_path / name, STARTS[name] * start + b"".join(pieces))
    said(lambda: rows_of("manifest", path))
    said(lambda: statistics_of_table(path, "label", [], seed=0))


def test_a_row_without_end_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cell holds an end of line, so that no line and no cell is long."""
    monkeypatch.setattr(lines_module, "LONGEST_LINE", 10_000)
    endless = b"a.png,x,1\n" + b'"\n",' * 10_000 + b'"\nb.png,y,1\n'
    with open_text(SafePath(written(tmp_path / "m.csv", endless))) as file:
        rows = [cells for _, cells in CsvRows(file)]
    assert (rows[0], rows[-1]) == (["a.png", "x", "1"], ["b.png", "y", "1"])
    assert {row.reason for row in rows if isinstance(row, NotARow)} == {
        "the row is longer than 10,000 characters, or 1,000 lines"
    }
    assert max(len(row) for row in rows if isinstance(row, list)) <= 10_000 // 4
