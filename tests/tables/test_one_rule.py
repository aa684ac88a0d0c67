"""Ingest and the command `statistics` read the same table alike: labels, values and how often they meet."""

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config.ingest import IngestParams
from pipeline.runtime.errors import UserError
from pipeline.sources.base import Refusal
from pipeline.sources.manifest import ManifestSource
from pipeline.statistics.command import tally_columns
from pipeline.statistics.tables import open_table

pytestmark = pytest.mark.slow

Row = tuple[Any, Any]
Counts = tuple[Counter[Row], int]
"""How often each label meets each colour, both known; and refused rows."""

ODD = [
    *(
        "",
        " ",
        "cat",
        " cat ",
        "Cat",
        "cafe\u0301",
        "caf\u00e9",
        "do\u00adg",
        "\u200bdog",
        "dog",
        "\u200fdog\u200f",
        "hot dog",
        "hot\u00a0dog",
        "\u2066",
        "nan",
        "NULL",
    ),
    *("3", "3.0", "03", "-1", "1e3", "true", "True", '24" monitor', "a,b", "a;b", "['x', 'y']", "x|y", "\t"),
    *("#red", "\uff03red", "\U0001f600", "é" * 40, "line\nbreak", "'", '"', "=1+1", "yes", "2020-01-01"),
]
TEXTS = st.sampled_from(ODD) | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
VALUES = (
    TEXTS
    | st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.lists(st.sampled_from(["x", "y"]), max_size=2)
    | st.just({"name": "x"})
)
BROKEN = st.sampled_from(['b.png,"cat', "b.png,cat", "b.png,cat,red,more", 'b.png,c"at,red', "", '""', ",,"])
SETTINGS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def of_ingest(path: Path) -> Counts:
    source = ManifestSource.open(IngestParams.model_validate({"source": "manifest", "path": str(path)}), 0)
    rows = list(source.rows())
    good = [row for row in rows if not isinstance(row, Refusal)]
    pairs = ((row.label, row.attributes["colour"]) for row in good)
    return Counter(pair for pair in pairs if None not in pair), len(rows) - len(good)


def of_statistics(path: Path) -> Counts:
    table = open_table(path)
    tally = tally_columns(table, "label", ["colour"])[0]["colour"]
    counted = tally.labelled
    cells = zip(counted.labels_C, counted.clusters_C, counted.counts_C, strict=True)
    labels, colours = list(tally.labels._code_of), list(tally.clusters._code_of)
    return Counter({(labels[label], colours[colour]): int(n) for label, colour, n in cells}), (
        table.refused.total()
    )


def both(path: Path) -> tuple[Counts | str, Counts | str]:
    """What both find, or the error in which each ends."""
    found: list[Counts | str] = []
    for read in (of_ingest, of_statistics):
        try:
            found.append(read(path))
        except UserError as error:
            found.append(type(error).__name__)
    return found[0], found[1]


def by_colour(counts: Counter[Row]) -> Counter[frozenset[tuple[Any, int]]]:
    """The labels of each colour, whatever it is called: statistics know times by their numbers."""
    of_colour: dict[Any, set[tuple[Any, int]]] = {}
    for (label, colour), count in counts.items():
        of_colour.setdefault(colour, set()).add((label, count))
    return Counter(map(frozenset, of_colour.values()))


def check(path: Path) -> None:
    ingested, described = both(path)
    if isinstance(ingested, str) or isinstance(described, str):
        assert ingested == described
        return
    assert by_colour(ingested[0]) == by_colour(described[0])
    assert ingested[1] == described[1]


@SETTINGS
@given(
    rows=st.lists(st.tuples(TEXTS, TEXTS) | BROKEN, min_size=1, max_size=12),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ends=st.sampled_from(["\n", "\r\n"]),
)
def test_delimited(tmp_path: Path, rows: list[Row | str], delimiter: str, quoting: int, ends: str) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, quoting=quoting, lineterminator=ends)  # type: ignore[arg-type]
    writer.writerow(["image", "label", "colour"])
    for number, row in enumerate(rows):
        if isinstance(row, str):
            buffer.write(row.replace(",", delimiter).replace("b.png", f"b{number}.png") + ends)
        else:
            writer.writerow([f"{number}.png", *row])
    path = tmp_path / ("table.tsv" if delimiter == "\t" else "table.csv")
    path.write_bytes(buffer.getvalue().encode())
    check(path)


@SETTINGS
@given(
    st.lists(st.dictionaries(st.sampled_from(["label", "colour"]), VALUES), min_size=1, max_size=12),
    st.booleans(),
)
def test_json(tmp_path: Path, rows: list[dict[str, Any]], is_array: bool) -> None:
    records = [{"image": f"{number}.png"} | row for number, row in enumerate(rows)]
    first = {"image": "first.png", "label": "cat", "colour": "red"}
    records.insert(0, first)
    path = tmp_path / ("table.json" if is_array else "table.jsonl")
    path.write_text(json.dumps(records) if is_array else "\n".join(map(json.dumps, records)))
    if any(isinstance(row.get("colour"), list | dict) for row in rows):
        return  # no column of values: an attribute for neither
    if any(isinstance(row.get("label"), list | dict) for row in rows):
        return  # no label for statistics
    check(path)


@pytest.mark.parametrize(
    ("labels", "colours"),
    [
        (pa.array([1, 2, None, 2, 1]), pa.array([1.0, 2.5, float("nan"), 2.5, 1.0])),
        (pa.array([True, False, True, None, True]), pa.array([b"red", b"", b"red", b" red ", None])),
        (pa.array(["cafe\u0301", "caf\u00e9", " ", "x", "x"]), pa.array([0, 1, 86399, 0, 1], pa.time32("s"))),
        (pa.array(["a", "b", "a", "b", None]).dictionary_encode(), pa.array([1, 2, 3, 2, 1], pa.date32())),
        (
            pa.array([1, 2, 3, 2, 1], pa.decimal128(5, 2)),
            pa.array(range(5), pa.timestamp("ns", "UTC")),
        ),
        (pa.array([1, 2, 3, 2, 1], pa.uint64()), pa.array([1, 2, 3, 2, 1], pa.duration("ms"))),
    ],
)
def test_parquet(tmp_path: Path, labels: pa.Array, colours: pa.Array) -> None:
    path = tmp_path / "table.parquet"
    names = [f"{number}.png" for number in range(5)]
    pq.write_table(pa.table({"image": names, "label": labels, "colour": colours}), path)
    check(path)
