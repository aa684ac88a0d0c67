"""ClassLabels of `datasets` mean the same to every reader of a Parquet table."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.ingest import IngestParams
from pipeline.sources.base import Refusal, SourceRow
from pipeline.sources.registry import open_source
from pipeline.statistics.command import tally_columns
from pipeline.statistics.tables import open_table
from pipeline.tables.class_labels import NotAClass, class_names, named

FEATURES = {
    "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
    "kind": {"names": ["x", "y", "z"], "_type": "ClassLabel"},
    "tags": {"feature": {"names": ["new", "sale"], "_type": "ClassLabel"}, "_type": "Sequence"},
    "year": {"dtype": "int64", "_type": "Value"},
}
METADATA = {"huggingface": json.dumps({"info": {"features": FEATURES}})}
LABELS = [0, 1, -1, None, 1, 1, 7]
KINDS = [2, -100, 0, 1, 2, 2, 0]
NAMED = [("cat", "z"), ("dog", None), (None, "x"), (None, "y"), ("dog", "z"), ("dog", "z")]
REASON = "the class 7 is none of the 2 that the metadata name"


def stored(path: Path, image: list[Any], kind: pa.DataType, *, dictionary: bool = False) -> Path:
    labels = pa.array(LABELS, kind)
    columns = {
        "image": image,
        "label": labels.dictionary_encode() if dictionary else labels,
        "kind": pa.array(KINDS, kind),
        "tags": [[0, 1], [-1], [], None, [1], [0], [0]],
        "year": pa.array([-1, 2001, 2002, 2003, 2004, 2005, 2006]),
    }
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **METADATA}), path)
    return path


def rows_of(source: str, path: Path) -> list[SourceRow | Refusal]:
    columns = {"hashtags": "tags"}
    params = IngestParams.model_validate({"source": source, "path": str(path), "columns": columns})
    return list(open_source(params, 0).rows())


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64()], ids=str)
@pytest.mark.parametrize("source", ["manifest", "huggingface"])
def test_ingest_reads_names_and_no_negative_class(tmp_path: Path, source: str, kind: pa.DataType) -> None:
    names = [f"{n}.png" for n in range(len(LABELS))]
    image = names if source == "manifest" else [{"bytes": b"x", "path": name} for name in names]
    *rows, last = rows_of(source, stored(tmp_path / "a.parquet", image, kind))
    good = [row for row in rows if isinstance(row, SourceRow)]
    assert [(row.label, row.attributes["kind"]) for row in good] == NAMED
    assert [row.hashtags for row in good] == [["new", "sale"], [], [], [], ["sale"], ["new"]]
    assert [row.attributes["year"] for row in good][:2] == ["-1", "2001"]
    assert isinstance(last, Refusal)
    assert last.reason == REASON


@pytest.mark.parametrize("dictionary", [False, True])
def test_statistics_reads_names_and_no_negative_class(tmp_path: Path, dictionary: bool) -> None:
    names = [f"{n}.png" for n in range(len(LABELS))]
    table = open_table(stored(tmp_path / "a.parquet", names, pa.int64(), dictionary=dictionary))
    tallies, _ = tally_columns(table, "label", ["kind", "year"])
    tally = tallies["kind"]
    assert list(tally.labels._code_of) == ["cat", "dog"]
    assert list(tally.clusters._code_of) == ["z", "x", "y"]
    assert "-1" in tallies["year"].clusters._code_of
    assert (tally.labelled.rows, tally.rows_without_cluster, tally.rows) == (3, 1, 6)
    assert dict(table.refused) == {REASON: 1}
    assert table.refused.first[REASON] == "a.parquet row 7"


def test_a_number_is_named() -> None:
    names = ["a", "b"]
    assert [named(cell, names) for cell in (0, 1, -1, -100, None, "text")] == [
        "a",
        "b",
        None,
        None,
        None,
        "text",
    ]
    assert named([1, -100, 0], names) == ["b", None, "a"]
    with pytest.raises(NotAClass, match="the class 2 is none of the 2"):
        named(2, names)


def test_columns_of_other_features_have_no_names() -> None:
    found = class_names(pa.schema([], METADATA))
    assert found == {"label": ["cat", "dog"], "kind": ["x", "y", "z"], "tags": ["new", "sale"]}
    assert class_names(pa.schema([])) == {}


def test_every_reader_counts_alike(tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(len(LABELS))]
    path = stored(tmp_path / "a.parquet", names, pa.int64())
    pairs = Counter((row.label, row.attributes["kind"]) for row in rows_of("manifest", path)[:-1])  # type: ignore[union-attr]
    tally = tally_columns(open_table(path), "label", ["kind"])[0]["kind"]
    assert tally.labelled.rows == sum(n for pair, n in pairs.items() if None not in pair)
