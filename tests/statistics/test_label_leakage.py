import tracemalloc
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipeline.statistics.describe import describe_clustering
from pipeline.statistics.label_leakage import tags_that_name_labels
from pipeline.statistics.values import encoded


def naming(tags: Sequence[list[str] | None], labels: Sequence[str | None]) -> list[str]:
    codes_N, values = encoded(labels)
    return tags_that_name_labels(tags, codes_N, values)


def test_a_tag_spelled_like_a_label_names_it() -> None:
    labels = ["T-Shirts"] * 4 + ["Jeans"] * 4
    tags = [["#tshirts", "blue"], ["TSHIRTS"], ["blue"], None, ["blue"], [], ["blue"], ["red"]]
    assert set(naming(tags, labels)) == {"TSHIRTS", "#tshirts"}


def test_a_spelling_that_few_images_of_the_label_carry_is_no_matter() -> None:
    labels = ["apple"] * 20 + ["pear"] * 20
    tags: list[list[str]] = [["red"]] * 40
    tags[0] = ["apple"]
    assert naming(tags, labels) == []


def test_a_tag_on_exactly_the_images_of_a_label_names_it_whatever_its_spelling() -> None:
    labels = ["apple"] * 20 + ["pear"] * 20 + [None]
    tags: list[list[str]] = [["りんご", "fruit"]] * 20 + [["fruit"]] * 21
    assert naming(tags, labels) == ["りんご"]


def test_a_tag_on_a_few_images_is_no_evidence() -> None:
    labels = ["rare"] * 5 + ["common"] * 20
    tags: list[list[str]] = [["x"]] * 5 + [[]] * 20
    assert naming(tags, labels) == []


def test_a_tag_written_twice_on_an_image_counts_once() -> None:
    labels = ["rare"] * 5 + ["common"] * 20
    tags: list[list[str]] = [["x", "x"]] * 5 + [[]] * 20
    assert naming(tags, labels) == []


def test_tags_that_only_go_with_a_label_do_not_name_it() -> None:
    labels = ["apple"] * 20 + ["pear"] * 20
    tags: list[list[str]] = [["sweet"]] * 25 + [["sour"]] * 15
    assert naming(tags, labels) == []


def test_rows_without_tags_or_labels() -> None:
    assert naming([None, None], ["a", "b"]) == []
    assert naming([["a"], ["b"]], [None, None]) == []


def test_arrow_columns_reach_the_findings() -> None:
    tags = pa.chunked_array([pa.array([["dog"]] * 12), pa.array([["cat"]] * 12)])
    labels = pa.chunked_array([pa.array(["dog"] * 12 + ["cat"] * 12)])
    described = describe_clustering("hashtags", np.arange(24) % 5, labels, seed=0, tags=tags)
    assert "tags_name_the_label" in {finding["code"] for finding in described["findings"]}


def test_a_long_tag_does_not_give_every_tag_its_room() -> None:
    """An array of fixed-width texts would take 5 GB."""
    labels = [f"label {n % 40}" for n in range(10_000)]
    tags = [[f"Label_{n % 40}", f"tag {n}"] for n in range(10_000)]
    tags[0] = ["x" * 130_000]
    tracemalloc.start()
    try:
        assert set(naming(tags, labels)) == {f"Label_{n}" for n in range(40)}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**26
