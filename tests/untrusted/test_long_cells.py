"""A cell that is too long or holds too many items costs its row alone, and no more memory than itself."""

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hostile_tables import rows_of, shard, taken, written
from pipeline.sources.base import Refusal
from pipeline.statistics.command import statistics_of_table
from pipeline.tables.cells import LONGEST_TEXT, TOO_LONG, TooLarge, are_equal, text
from pipeline.tables.hashtags import MOST_TAGS, hashtags_of
from pipeline.tables.records import is_unicode

pytestmark = pytest.mark.slow

LETTERS = 1_000_000
TEXTS = {
    "word": "a" * LETTERS,
    "quoted": "['" + "a" * LETTERS + "']",
    "tags": "#ab " * (LETTERS // 4),
    "separated": "a;" * (LETTERS // 2),
    "accents": "e\u0301" * (LETTERS // 2),
    "entities": "&amp;" * (LETTERS // 5),
    "array": '["a"' + ',"a"' * (LETTERS // 4) + "]",
}
TOO_MANY = f"more than {MOST_TAGS:,} hashtags"
COLUMNS = {
    "image": "image",
    "label": "label",
    "split": "split",
    "hashtags": "hashtags",
    "hierarchy": ["kind"],
}
ROLES = ["image", "label", "split", "hashtags", "kind", "colour"]


@contextmanager
def memory_below(most: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("written", TEXTS.values(), ids=TEXTS)
def test_a_long_text_is_refused_before_it_is_parsed(written: str) -> None:
    with memory_below(1 << 16):
        for parse in (text, hashtags_of):
            with pytest.raises(TooLarge, match=TOO_LONG):
                parse(written)
        assert not are_equal(written, "a")
        assert are_equal(written, written)


@pytest.mark.parametrize("written", TEXTS.values(), ids=TEXTS)
def test_the_longest_text_takes_little_memory(written: str) -> None:
    """A quoted word took 120 bytes per letter."""
    written = (written[: LONGEST_TEXT - 2] + "']")[:LONGEST_TEXT]
    with memory_below(8 << 20), suppress(TooLarge):
        hashtags_of(written)


@pytest.mark.parametrize("cell", ["a" * LONGEST_TEXT, "é" * LONGEST_TEXT, ("é" * LONGEST_TEXT).encode()])
def test_the_longest_text_is_kept(cell: str | bytes) -> None:
    assert len(text(cell) or "") == LONGEST_TEXT


LISTS: dict[str, Any] = {
    "list": ["a"] * (MOST_TAGS + 1),
    "objects": [{"text": "a"}] * (MOST_TAGS + 1),
    "texts": ["#a " * 5000] * 3,
    "written": json.dumps(["a"] * (MOST_TAGS + 1)),
    "separated": "a," * (MOST_TAGS + 1),
    "signed": "#a " * (MOST_TAGS + 1),
}


@pytest.mark.parametrize("cell", LISTS.values(), ids=LISTS)
def test_too_many_hashtags_are_refused(cell: Any) -> None:
    with pytest.raises(TooLarge, match=TOO_MANY):
        hashtags_of(cell)


def test_the_most_hashtags_are_kept() -> None:
    assert len(hashtags_of(["a"] * MOST_TAGS)) == len(hashtags_of("#a " * MOST_TAGS)) == MOST_TAGS


def table(path: Path, role: str, cell: str) -> Path:
    """A table or shard of three rows, of which the second has `cell` in the column `role`."""
    names = [f"{n}.png" for n in range(3)]
    columns = {"image": names} | {name: ["train", "test", "train"] for name in ROLES[1:]}
    columns[role][1] = cell
    if path.suffix == ".parquet":
        images = columns["image"] if path.name == "m.parquet" else [b"1", b"2", b"3"]
        pq.write_table(pa.table(columns | {"image": images}), path)
        return path
    records = [{name: columns[name][n] for name in ROLES} for n in range(3)]
    if path.suffix == ".tar":
        members = [(f"{n}.jpg", b"1") for n in range(3)], [(f"{n}.json", r) for n, r in enumerate(records)]
        pairs = zip(*members, strict=True)
        return written(
            path,
            shard(
                *(
                    (n, json.dumps(c).encode() if isinstance(c, dict) else c)
                    for pair in pairs
                    for n, c in pair
                )
            ),
        )
    return written(path, "\n".join(map(json.dumps, records)))


SOURCES = {
    "m.jsonl": "manifest",
    "m.parquet": "manifest",
    "train.parquet": "huggingface",
    "x/0.tar": "webdataset",
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("role", ROLES)
def test_a_long_text_costs_its_row_alone(tmp_path: Path, name: str, role: str) -> None:
    path = table(tmp_path / name, role, TEXTS["quoted"])
    is_used = role != "image" or SOURCES[name] == "manifest"
    with memory_below(8 * LETTERS):
        rows = rows_of(SOURCES[name], path.parent if path.suffix == ".tar" else path, columns=COLUMNS)
    assert len(rows) == 3
    assert [row.reason for row in rows if isinstance(row, Refusal)] == [TOO_LONG] * is_used
    assert isinstance(rows[1], Refusal) == is_used


@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
def test_statistics_leave_out_the_rows_that_ingest_refuses(
    tmp_path: Path, kind: pa.DataType, dictionary: bool
) -> None:
    longest, longer = "é" * LONGEST_TEXT, "é" * (LONGEST_TEXT + 1)
    colours = pa.array(["x", longest, longer, "x", None, longest, "y", longer], kind)
    path = tmp_path / "m.parquet"
    labels = ["a", "b"] * 4
    columns = {"label": labels, "colour": colours.dictionary_encode() if dictionary else colours}
    pq.write_table(pa.table(columns), path)
    for read in (path, written(tmp_path / "m.jsonl", json_lines(labels, colours.cast(pa.string())))):
        found = statistics_of_table(read, "label", ["colour"], seed=0)
        assert found.columns[0]["clusters"] == 3
        place = "m.parquet row 3" if read == path else "m.jsonl line 3"
        assert found.notes == [f"rows that are left out: 2 x {TOO_LONG}, e.g. {place}"]


def json_lines(labels: list[str], colours: pa.Array) -> str:
    rows = zip(labels, colours.to_pylist(), strict=True)
    return "\n".join(json.dumps({"label": label, "colour": colour}) for label, colour in rows)


def test_rows_of_a_binary_column_are_not_held_to_see_whether_it_is_text(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"image": [b"1"] * 64, "mask": [bytes(1 << 20)] * 64}), path, row_group_size=1)
    with memory_below(8 << 20):
        assert len(taken(rows_of("huggingface", path))) == 64


@pytest.mark.parametrize("value", ["\ud800", {"a": ["\ud800"]}, {"\ud800": 1}, [("k", "\udc80")]])
def test_what_is_no_unicode_is_found_anywhere(value: Any) -> None:
    assert not is_unicode(value)


@pytest.mark.parametrize("value", ["\0" * LETTERS, {"a": bytes(LETTERS)}, {"é": ["é", None, 1.5, True]}, ()])
def test_unicode_is_checked_without_a_copy_of_ascii(value: Any) -> None:
    with memory_below(1 << 16):
        assert is_unicode(value)
