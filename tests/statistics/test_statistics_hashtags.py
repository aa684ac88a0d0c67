"""`clinfonce statistics` on a column of hashtags: joint tags and topics, as the cluster stage makes them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.clustering.registry import METHODS
from pipeline.config.params import load_params
from pipeline.dataset.dataset import ImageSplit
from pipeline.ingest.run import ingest
from pipeline.runtime.errors import UserError
from pipeline.statistics import hashtags as of_hashtags
from pipeline.statistics import sample
from pipeline.statistics.command import statistics_of_table
from pipeline.statistics.describe import describe_clustering
from pipeline.statistics.hashtags import hashtag_clusterings
from pipeline.statistics.tag_sets import TagSets
from pipeline.storage.schema import Layout
from support import params_with, write_columns

TAGS = [f"#Sea;#t{n % 5};#u{n % 7}" if n % 6 else "" for n in range(210)]
LABELS = ["cat" if (n % 5 < 2) != (n % 11 == 0) else "dog" for n in range(210)]


def write(path: Path, **changes: list[Any]) -> Path:
    return write_columns(path, {"label": LABELS, "Hashtags": TAGS} | changes)


def by_name(path: Path, *clusters: str, hashtags: str | None = None) -> dict[str, dict[str, Any]]:
    found = statistics_of_table(path, "label", clusters, hashtags, seed=0, batch_size=64).columns
    return {one["column"]: one for one in found}


def test_a_column_of_that_name_is_clustered_by_its_hashtags(tmp_path: Path) -> None:
    found = by_name(write(tmp_path / "t.csv"))
    joint = [f"Hashtags (top {number})" for number in (1, 2, 4, 8, 13)]
    assert list(found) == [*joint, "Hashtags (8 topics)", "Hashtags (17 topics)", "Hashtags (35 topics)"]
    assert all(one["rows_without_cluster"] == 35 and one["rows"] == 175 for one in found.values())
    # Each image with tags has one t and one u: together they are one of 35 sets.
    assert found["Hashtags (top 13)"]["clusters"] == found["Hashtags (35 topics)"]["clusters"] == 35


@pytest.mark.parametrize("column", ["Hashtags", "words"])
def test_lists_in_parquet_are_as_text(tmp_path: Path, column: str) -> None:
    lists = [[tag for tag in tags.split(";") if tag] for tags in TAGS]
    tables = [
        write(tmp_path / "text.parquet", **{"Hashtags": [], column: TAGS}),
        write(tmp_path / "lists.parquet", **{"Hashtags": [], column: lists}),
    ]
    first, second = (by_name(table, hashtags=column) for table in tables)
    assert first == second
    assert f"{column} (top 8)" in first


def test_beside_columns_and_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", size=["s", "l"] * 105)
    assert next(iter(by_name(path))) == "size"
    assert "Hashtags (top 1)" in by_name(path)
    assert list(by_name(path, "size")) == ["size"]
    assert list(by_name(path, "size", hashtags="Hashtags"))[:2] == ["size", "Hashtags (top 1)"]


def test_images_without_hashtags_have_none(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", Hashtags=[""] * 210, size=["s", "l"] * 105)
    assert list(by_name(path)) == ["size"]


def test_a_tag_that_names_the_label_is_found_where_it_is_joined(tmp_path: Path) -> None:
    tags = [f"{tags};#{label}s" for tags, label in zip(TAGS, LABELS, strict=True)]
    found = by_name(write(tmp_path / "t.csv", Hashtags=tags))
    codes_of = {name: {f["code"] for f in one["findings"]} for name, one in found.items()}
    assert "tags_name_the_label" in codes_of["Hashtags (top 4)"]
    assert all("tags_name_the_label" in codes for name, codes in codes_of.items() if "topics" in name)


def test_an_absent_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no column words: it has Hashtags$"):
        by_name(write(tmp_path / "t.csv"), hashtags="words")


def test_very_many_and_very_long_hashtags_do_not_count(tmp_path: Path) -> None:
    many = write(tmp_path / "many.parquet", Hashtags=[[f"t{n * m}" for m in range(9000)] for n in range(210)])
    result = statistics_of_table(many, "label", [], seed=0)
    assert "210 rows have more than 200 hashtags, some of more than 256 characters" in result.notes[-1]
    long = write(tmp_path / "long.parquet", Hashtags=[["x" * 120_000, "y"]] * 210)
    with pytest.raises(UserError, match=r"no hashtag of Hashtags in .* is on some rows"):
        by_name(long)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([10**18] * 210, pa.duration("s")),
        pa.array([[2**31 - 1]] * 210, pa.list_(pa.date32())),
        pa.array([0] * 210, pa.timestamp("s", "no/zone")),
    ],
)
def test_values_that_are_no_hashtags(tmp_path: Path, values: pa.Array) -> None:
    """Nor any that Python could hold; the other columns are measured."""
    table = {"label": LABELS, "size": ["s", "l"] * 105, "hashtags": values}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    assert list(by_name(tmp_path / "t.parquet")) == ["size"]


def test_an_empty_column_of_labels(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"column label of .* is empty"):
        by_name(write(tmp_path / "t.csv", label=[""] * 210))


def test_a_large_table_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "MOST_ROWS", 60)
    result = statistics_of_table(write(tmp_path / "t.parquet"), "label", [], seed=0)
    assert re.search(r"measured on a random sample of \d+ of the 210 rows", result.notes[-1])
    assert all(one["rows"] + one["rows_without_cluster"] <= 120 for one in result.columns)


def test_labels_are_searched_for_in_a_part_of_very_many_tags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_hashtags, "MOST_AT_ONCE", 300)
    tags = [f"{tags};#{label}s" for tags, label in zip(TAGS, LABELS, strict=True)]
    found = by_name(write(tmp_path / "t.csv", Hashtags=tags))
    assert "tags_name_the_label" in {f["code"] for f in found["Hashtags (top 4)"]["findings"]}
    assert not [name for name in found if "topics" in name]


def test_very_many_rows_have_no_topics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_hashtags, "MOST_FOR_TOPICS", 200)
    assert not [name for name in by_name(write(tmp_path / "t.csv")) if "topics" in name]


def test_sets_by_hand() -> None:
    coder = TagSets()
    first = coder.codes(pa.array(["#Red #sea", "sea,red", None, "  "]))
    second = coder.codes(pa.array([["RED", "#sea"], [], None]))
    coded = coder.codes(pa.array(["red", None, "#sea;red"]).dictionary_encode())
    assert first.tolist() == [0, 0, 1, 1]
    assert second.tolist() == [0, 1, 1]
    assert coded.tolist() == [2, 1, 0]
    assert list(coder.sets) == [{"red", "sea"}, set(), {"red"}]


def test_they_are_the_clusters_of_the_cluster_stage(manifest: Callable[..., Path], tmp_path: Path) -> None:
    path = manifest(24, split=["train"] * 24)
    ingest(params_with(ingest={"source": "manifest", "path": str(path)}).ingest, 0, Layout(tmp_path / "data"))
    train = ImageSplit(Layout(tmp_path / "data").images, "train")
    coder = TagSets()
    codes_N = coder.codes(pa.array(train.hashtags, pa.list_(pa.string())))
    for one in hashtag_clusterings(coder.sets, codes_N, (1, 2, 3), 0):
        section: dict[str, Any] = {"hashtags": {}}
        for name, value in one.changes.items():
            if name != "cluster.method":
                section["hashtags"][name.removeprefix("cluster.hashtags.")] = value
        params = params_with(cluster=section | {"method": "hashtags"}).cluster
        clusters = METHODS["hashtags"].fit(train, params.chosen, 0)
        again = [
            describe_clustering("hashtags", c, train.labels, seed=0)
            for c in (one.clusters_N, clusters.labels_N)
        ]
        assert again[0] == again[1], one.setting
        assert len(np.unique(one.clusters_N)) == len(np.unique(clusters.labels_N))


def test_the_option(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", Hashtags=[], words=TAGS)
    shown = CliRunner().invoke(app, ["statistics", str(path), "--label", "label", "--hashtags", "words"])
    assert shown.exit_code == 0, shown.output
    assert "words (top 8)" in shown.stdout
    assert load_params(Path("params.yaml")).ingest.columns.hashtags == "hashtags", "which is the default"
