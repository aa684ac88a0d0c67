import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.statistics.describe import describe_clustering

FIXED_KEYS = {
    "method",
    "clusters",
    "singletons",
    "largest_share",
    "cluster_entropy_bits",
    "label_entropy_bits",
    "mutual_information_bits",
    "conditional_entropy_bits",
    "adjusted_mutual_information",
    "normalized_mutual_information",
}
CLUSTERS = np.array([0, 0, 1, 1, 1, 2, 3, 3])
LABELS = ["a", "a", "b", "b", "a", "c", None, ""]


def described(labels: Any = LABELS, **options: Any) -> dict[str, Any]:
    return describe_clustering("column", CLUSTERS, labels, seed=0, **options)


def test_sizes_are_over_all_rows_and_information_over_labelled_ones() -> None:
    all_rows, labelled = described(), describe_clustering("column", CLUSTERS[:6], LABELS[:6], seed=0)
    assert all_rows["rows"] == 8
    assert all_rows["rows_unlabelled"] == 2
    assert all_rows["clusters"] == 4
    assert all_rows["labelled_clusters"] == 3
    assert all_rows["singletons"] == 1
    assert all_rows["largest_share"] == 3 / 8
    assert all_rows["cluster_entropy_bits"] > labelled["cluster_entropy_bits"]
    for key in FIXED_KEYS - {"clusters", "largest_share", "cluster_entropy_bits"}:
        assert all_rows[key] == labelled[key], key


def test_without_any_label_what_needs_labels_is_null() -> None:
    nothing = described([None] * 8)
    assert nothing["rows_unlabelled"] == 8
    assert nothing["labels"] == 0
    assert nothing["cluster_entropy_bits"] == described()["cluster_entropy_bits"]
    for key in ("mutual_information_bits", "label_entropy_bits", "adjusted_mutual_information", "purity"):
        assert nothing[key] is None


def test_keys_are_the_same_with_and_without_labels_and_batch() -> None:
    full = described(batch_size=4)
    assert full.keys() >= FIXED_KEYS
    assert described([None] * 8).keys() == full.keys()
    enough = describe_clustering("column", np.tile(CLUSTERS, 20), LABELS * 20, seed=0, batch_size=4)
    assert enough.keys() == full.keys()
    assert None not in enough.values()


def test_json_holds_it() -> None:
    text = json.dumps(described(batch_size=4), allow_nan=False)
    assert json.loads(text) == described(batch_size=4)


@pytest.mark.parametrize(
    "labels",
    [
        pa.array(LABELS),
        pa.chunked_array([LABELS[:3], LABELS[3:]]),
        pa.array(LABELS).dictionary_encode(),
        pa.array([1, 1, 2, 2, 1, 3, None, None]),
        [1.0, 1.0, 2.0, 2.0, 1.0, 3.0, float("nan"), None],
    ],
    ids=["array", "chunked", "dictionary", "integers", "floats"],
)
def test_labels_of_any_type_tell_the_same(labels: Any) -> None:
    assert described(labels) == described()


def test_size_quantiles_are_sizes_that_occur() -> None:
    assert described()["size_quantiles"] == {
        "0": 1, "0.05": 1, "0.25": 1, "0.5": 2, "0.75": 2, "0.95": 3, "1": 3,
    }  # fmt: skip


def test_the_ceiling_is_the_smaller_of_entropy_and_batch() -> None:
    assert described(batch_size=2)["objective_ceiling_bits"] == 1.0
    assert described(batch_size=8)["objective_ceiling_bits"] == described()["cluster_entropy_bits"]


@pytest.mark.parametrize("few", [described(), describe_clustering("instance", np.arange(8), LABELS, seed=0)])
def test_a_sample_that_has_seen_too_little_has_no_corrected_figures(few: dict[str, Any]) -> None:
    assert few["joint_coverage"] < 0.9
    corrected = {key for key in few if "corrected" in key or key == "correction"}
    assert len(corrected) == 7
    assert {few[key] for key in corrected} == {None}
    assert few["mutual_information_bits"] is not None


def test_equal_seeds_give_equal_statistics() -> None:
    assert described() == described()


def test_no_rows_at_all() -> None:
    empty = describe_clustering("column", np.zeros(0, np.int64), [], seed=0, batch_size=4)
    assert empty["clusters"] == empty["rows"] == 0
    assert empty["cluster_entropy_bits"] == 0.0
    assert empty["findings"] == []
