import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from dvc.utils.hydra import apply_overrides

from pipeline.config.params import load_params
from pipeline.statistics.describe import describe_clustering
from pipeline.statistics.findings import StopList, findings_of
from support import REPOSITORY

GENERATOR_SEED = 0


def labels_of(rows: int) -> list[str]:
    return [f"label {code}" for code in np.random.default_rng(GENERATOR_SEED).integers(0, 8, rows)]


def codes_of(
    method: str, clusters_N: np.ndarray, labels: Sequence[str | None], batch_size: int = 256
) -> set[str]:
    described = describe_clustering(method, clusters_N, labels, seed=0, batch_size=batch_size)
    for finding in described["findings"]:
        assert finding["sentence"].endswith(".")
        assert finding["cure"].endswith(".")
    return {finding["code"] for finding in described["findings"]}


LABELS = labels_of(800)
LABEL_CODES = np.array([int(label[-1]) for label in LABELS])
ROWS = np.arange(800)
NOISE = np.random.default_rng(1).integers(0, 8, 800)
INFORMED = np.where(ROWS % 2 == 0, LABEL_CODES, NOISE)


def test_a_good_clustering_has_none() -> None:
    assert codes_of("attributes", INFORMED, LABELS) == set()


def test_many_singletons() -> None:
    fewer = np.where(ROWS < 160, 8 + ROWS, INFORMED)
    more = np.where(ROWS < 170, 8 + ROWS, INFORMED)
    assert "many_singletons" not in codes_of("attributes", fewer, LABELS)
    assert "many_singletons" in codes_of("attributes", more, LABELS)


def test_dominant_cluster() -> None:
    assert "dominant_cluster" in codes_of("attributes", np.where(ROWS < 300, 3, INFORMED), LABELS)


@pytest.mark.parametrize(
    ("sizes", "dominant"),
    [
        ([280, 270, 250], False),  # 35 % of three
        ([410, 390], False),  # 51 % of two
        ([700, 100], True),
        ([400, *[50] * 8], True),  # half of the images, nearly nine of ten pairs
        ([200, *[100] * 6], False),
        ([24, *[1] * 776], False),  # a batch hardly ever holds two of the 24
        ([500, *[1] * 300], True),
        ([800], True),
    ],
)
def test_a_cluster_dominates_by_its_pairs_and_the_number_of_clusters(
    sizes: list[int], dominant: bool
) -> None:
    clusters_N = np.repeat(np.arange(len(sizes)), sizes)
    assert ("dominant_cluster" in codes_of("attributes", clusters_N, LABELS, batch_size=32)) == dominant


def test_a_batch_of_all_images_limits_nothing() -> None:
    described = describe_clustering("column", ROWS, LABELS, seed=0, batch_size=4096)
    assert (
        described["batch_ceiling_bits"] == described["objective_ceiling_bits"] == pytest.approx(np.log2(800))
    )
    assert "entropy_above_ceiling" not in {finding["code"] for finding in described["findings"]}


def test_entropy_above_ceiling() -> None:
    assert "entropy_above_ceiling" in codes_of("attributes", INFORMED, LABELS, batch_size=4)
    assert "entropy_above_ceiling" not in codes_of("attributes", INFORMED, LABELS, batch_size=8)


def test_clusters_that_equal_the_labels_but_for_their_names_and_a_typing_error() -> None:
    renamed = (LABEL_CODES + 3) % 8
    assert "clusters_equal_labels" in codes_of("column", renamed, LABELS)
    with_error = renamed.copy()
    with_error[5] = 8
    assert "clusters_equal_labels" in codes_of("column", with_error, LABELS)
    assert "clusters_equal_labels" not in codes_of("column", INFORMED, LABELS)


@pytest.mark.parametrize("labels", [6, 2])
def test_one_labelled_image_per_class_equals_nothing(labels: int) -> None:
    """Any clusters agree with it."""
    given = [f"label {row // 5}" if row % 5 == 0 and row < 5 * labels else None for row in range(60)]
    assert "clusters_equal_labels" not in codes_of("column", np.arange(60) // 5, given)


def test_clusters_independent_of_the_labels() -> None:
    assert "clusters_independent_of_labels" in codes_of("column", NOISE, LABELS)
    assert "clusters_independent_of_labels" in codes_of("column", ROWS // 2, LABELS)


def test_many_small_dependent_clusters_are_not_called_independent() -> None:
    by_label = np.argsort(LABEL_CODES, kind="stable")
    pairs = np.empty_like(ROWS)
    pairs[by_label] = ROWS // 2
    assert "clusters_independent_of_labels" not in codes_of("column", pairs, LABELS)


@pytest.mark.parametrize(
    ("method", "clusters_N"), [("instance", ROWS), ("label", LABEL_CODES), ("random", NOISE)]
)
def test_what_a_method_is_for_is_no_finding(method: str, clusters_N: np.ndarray) -> None:
    assert codes_of(method, clusters_N, LABELS) == set()
    assert codes_of("column", clusters_N, LABELS) != set()


def test_without_labels_only_the_sizes_are_judged() -> None:
    assert codes_of("column", ROWS, [None] * 800) == {"many_singletons", "entropy_above_ceiling"}


def test_a_single_label_or_cluster_is_neither_equal_nor_independent() -> None:
    assert codes_of("column", INFORMED, ["one"] * 800) == set()
    assert codes_of("column", np.zeros(800, np.int64), LABELS) == {"dominant_cluster"}


def test_tags_that_name_the_label_are_listed() -> None:
    described = describe_clustering("column", INFORMED, LABELS, seed=0)
    (finding,) = findings_of(described, ["tshirt", "jeans"])
    assert finding["code"] == "tags_name_the_label"
    assert "2 tags name the label: tshirt, jeans." in finding["sentence"]


def test_clusters_from_which_the_label_follows() -> None:
    finer = LABEL_CODES * 3 + ROWS % 3
    assert "clusters_determine_labels" in codes_of("column", finer, LABELS)
    assert "clusters_determine_labels" not in codes_of("subdivide", finer, LABELS)
    assert "clusters_determine_labels" not in codes_of("column", LABEL_CODES // 2, LABELS)


def test_columns_that_determine_the_label_are_listed() -> None:
    described = describe_clustering(
        "attributes", INFORMED, LABELS, seed=0, columns_determining_labels=["class_id"]
    )
    (finding,) = described["findings"]
    assert finding["code"] == "columns_determine_labels"
    assert finding["sentence"].startswith("The column class_id determines the label")


def test_all_tags_are_stopped_by_the_line_that_is_printed(tmp_path: Path) -> None:
    """The shell and DVC read it back, with the tags that were stopped before."""
    tags = [
        "t-shirt",
        "with blank",
        "it's",
        'a"b',
        "back\\",
        "x,y",
        "[z]",
        "null",
        "1e3",
        "${x}",
        "$(y)",
        "été",
    ]
    described = describe_clustering("column", INFORMED, LABELS, seed=0)
    (finding,) = findings_of(described, tags, stop_list=StopList("cluster.hashtags.stop_words", ["before"]))
    command = shlex.split(finding["cure"].partition("stop them: ")[2].removesuffix("."))
    assert command[:4] == ["dvc", "exp", "run", "-S"]
    params = tmp_path / "params.yaml"
    shutil.copy(REPOSITORY / "params.yaml", params)
    apply_overrides(params, command[4:])
    assert load_params(params).cluster.hashtags.stop_words == ["before", *tags]
