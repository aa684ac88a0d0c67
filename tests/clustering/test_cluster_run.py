"""The cluster stage as a whole, also on real data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.clustering.run import cluster
from pipeline.dataset.assignments import read_assignments
from pipeline.ingest.run import ingest
from pipeline.runtime.errors import UserError
from pipeline.sources.synthetic.population import population_information
from pipeline.storage.files import read_json
from pipeline.storage.schema import Layout
from support import params_with

pytestmark = pytest.mark.slow


def run(layout: Layout, arm: str = "chosen", **section: object) -> dict[str, Any]:
    return cluster(params_with(cluster=section).cluster, arm, 256, 0, layout)


@pytest.fixture
def layout(manifest: Callable[..., Path], tmp_path: Path) -> Layout:
    ingest(params_with(ingest={"source": "manifest", "path": str(manifest(24))}).ingest, 0, Layout(tmp_path))
    return Layout(tmp_path)


def test_it_writes_both_files(layout: Layout) -> None:
    statistics = run(layout, method="column", column={"name": "colour"})
    assert read_json(layout.statistics("chosen")) == statistics
    assert (statistics["method"], statistics["clusters"]) == ("column", 3)
    table = pq.read_table(layout.assignments("chosen"))
    assert table.column_names == ["id", "cluster"]
    assert len(table) == 18


def test_references_go_by_their_own_method_whatever_is_chosen(layout: Layout) -> None:
    for arm, clusters in (("instance", 18), ("label", 2)):
        statistics = run(layout, arm, method="column", column={"name": "colour"})
        assert (statistics["method"], statistics["clusters"]) == (arm, clusters)
    assert run(layout, "label")["conditional_entropy_bits"] == 0.0


def test_the_recipe_for_remaking_clusters_travels_with_them(layout: Layout) -> None:
    run(layout, method="kmeans", kmeans={"clusters": 4, "n_init": 2, "min_points": 1})
    recipe = {"clusters": 4, "max_iter": 20, "n_init": 2}
    assert read_assignments(layout.assignments("chosen")).recluster == recipe
    run(layout, method="instance")
    assert read_assignments(layout.assignments("chosen")).recluster is None


def test_the_landscape_has_a_row_for_everything_one_could_choose(layout: Layout) -> None:
    run(layout, method="column", column={"name": "colour"})
    table = pd.read_csv(layout.landscape)
    assert table.groupby("method", sort=False).size().to_dict() == {
        "attributes": 5,
        "hashtags": 7,
        "column": 2,
        "instance": 1,
        "label": 1,
    }
    for method, setting, section in (
        ("attributes", "top 3", {"attributes": {"top": 3}}),
        ("hashtags", "top 2", {"hashtags": {"top": 2}}),
        ("column", "size", {"column": {"name": "size"}}),
    ):
        statistics = run(layout, method=method, **section)
        (row,) = table[(table["method"] == method) & (table["setting"] == setting)].to_dict("records")
        for figure in (
            "clusters",
            "mutual_information_bits",
            "conditional_entropy_bits",
            "anchors_without_positives",
        ):
            assert row[figure] == pytest.approx(statistics[figure])
    topics = table[table["setting"].str.endswith(" topics")].iloc[-1]
    hashtags = {"mode": "topics", "clusters": int(topics["setting"].split()[0])}
    statistics = run(layout, method="hashtags", hashtags=hashtags)
    assert topics["mutual_information_bits"] == pytest.approx(statistics["mutual_information_bits"])
    assert not topics["nested"]
    nested = table[table["method"] == "attributes"]
    assert nested["nested"].all()
    assert nested["mutual_information_bits"].is_monotonic_increasing


def test_labels_that_are_ids_give_no_advice(manifest: Callable[..., Path], tmp_path: Path) -> None:
    path = manifest(24, label=[f"sku{number}" for number in range(24)])
    ingest(params_with(ingest={"source": "manifest", "path": str(path)}).ingest, 0, Layout(tmp_path))
    run(Layout(tmp_path), method="column", column={"name": "colour"})
    advice = read_json(Layout(tmp_path).advice)
    assert advice["ranked"] == []
    assert advice["sentences"][0].startswith("There are no two images with the same label among the train")


def test_small_clusters_join_others_where_these_are_comparable(layout: Layout) -> None:
    attributes = {"columns": ["colour", "size"]}
    statistics = run(layout, method="attributes", attributes=attributes, min_size=4, small="nearest")
    assert statistics["images_of_small_clusters"] > 0
    assert min(statistics["size_quantiles"].values()) >= 4
    assert len(pd.read_csv(layout.landscape)) == 16


def test_a_stop_list_cures_tags_that_name_the_label(manifest: Callable[..., Path], tmp_path: Path) -> None:
    labels = [["cat", "dog"][n % 2] for n in range(24)]
    tags = [f"#{label.upper()};tag{n % 3}" for n, label in enumerate(labels)]
    path = manifest(24, label=labels, hashtags=tags)
    ingest(params_with(ingest={"source": "manifest", "path": str(path)}).ingest, 0, Layout(tmp_path))

    def codes(**section: object) -> list[str]:
        findings = run(Layout(tmp_path), method="hashtags", hashtags=section)["findings"]
        return [finding["code"] for finding in findings]

    assert "tags_name_the_label" in codes()
    assert "tags_name_the_label" not in codes(stop_words=["cat", "dog"])


@pytest.mark.parametrize(
    ("section", "made_of"),
    [
        ({"method": "attributes", "attributes": {"columns": ["size"]}}, {"columns": ["size"]}),
        ({"method": "column", "column": {"name": "colour"}}, {"columns": ["colour"]}),
        ({"method": "hashtags", "hashtags": {"top": 1}}, {"hashtags": ["tag0"]}),
        ({"method": "hashtags", "hashtags": {"mode": "topics", "clusters": 2}}, {}),
        ({"method": "instance"}, {}),
    ],
)
def test_the_statistics_say_of_what_clusters_are_made(
    layout: Layout, section: dict[str, Any], made_of: dict[str, list[str]]
) -> None:
    assert run(layout, **section)["made_of"] == made_of


def test_dropped_images_are_counted_and_left_out(layout: Layout) -> None:
    statistics = run(
        layout, method="hashtags", missing="drop", hashtags={"top": 1, "stop_words": ["pet", "tag0"]}
    )
    assert statistics["images_dropped"] == statistics["images_missing"] == 4
    assignments = read_assignments(layout.assignments("chosen"))
    assert len(assignments.ids) == statistics["rows"] == 14
    assert run(layout, "instance", missing="drop")["rows"] == 18


def test_damaged_assignments_are_reported(layout: Layout) -> None:
    run(layout, method="instance")
    path = layout.assignments("chosen")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"assignments\.parquet is damaged .*: run `clinfonce repair .*quet`"):
        read_assignments(path)
    path.unlink()
    with pytest.raises(UserError, match="is missing: run `dvc repro`"):
        read_assignments(path)


def test_the_synthetic_set_has_the_information_of_its_population(tmp_path: Path) -> None:
    layout, columns = Layout(tmp_path), ["shape", "texture"]
    section = {"image_size": 8, "synthetic": {"images": 3000}, "test_fraction": 0.01}
    ingest(params_with(ingest=section).ingest, 0, layout)
    statistics = run(layout, method="attributes", attributes={"columns": columns})
    information, conditional_entropy = population_information(columns)
    assert statistics["mutual_information_corrected_bits"] == pytest.approx(information, abs=0.08)
    corrected = statistics["conditional_entropy_corrected_bits"]
    assert corrected == pytest.approx(conditional_entropy, abs=0.08)


def test_figures_of_the_shared_catalogue(shared_data: Path, tmp_path: Path) -> None:
    """The figures that stand beside the data: 19 clusters of gender x usage, I 1.19, H(Z|T) 1.10."""
    path = shared_data / "fashion-products" / "manifest.csv"
    layout = Layout(tmp_path)
    section = {"source": "manifest", "path": str(path), "image_size": 8}
    ingest(params_with(ingest=section).ingest, 0, layout)
    statistics = run(layout, method="attributes", attributes={"columns": ["gender", "usage"]})
    assert statistics["clusters"] == 19
    assert statistics["mutual_information_bits"] == pytest.approx(1.19, abs=0.005)
    assert statistics["conditional_entropy_bits"] == pytest.approx(1.10, abs=0.005)
