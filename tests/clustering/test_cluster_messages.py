from typing import Any

from pipeline.clustering.console import messages

STATISTICS: dict[str, Any] = {
    "method": "hashtags",
    "clusters": 1200,
    "mutual_information_bits": 1.234,
    "conditional_entropy_bits": 2.0,
    "notes": ["joined #sea"],
    "images_missing": 3,
    "findings": [{"code": "many_singletons", "sentence": "30 % are alone.", "cure": "Use fewer tags."}],
}


def test_figures_notes_counts_and_findings() -> None:
    assert list(messages("chosen", STATISTICS, "instance")) == [
        "cluster chosen: 1,200 clusters by hashtags, mutual information I(Z;T) 1.23 bits, "
        "conditional entropy H(Z|T) 2.00 bits",
        "cluster chosen: joined #sea",
        "cluster chosen: 3 images have no value to cluster by: each forms its own cluster "
        "(cluster.missing=instance)",
        "cluster chosen: many_singletons: 30 % are alone. Use fewer tags.",
    ]


def test_without_labels() -> None:
    unlabelled = STATISTICS | {
        "mutual_information_bits": None,
        "notes": [],
        "images_missing": 0,
        "findings": [],
    }
    assert list(messages("chosen", unlabelled, "instance")) == [
        "cluster chosen: 1,200 clusters by hashtags, no labels to compare with"
    ]


def test_what_becomes_of_images_without_a_label() -> None:
    *_, line = messages("label", STATISTICS | {"method": "label", "findings": []}, "drop")
    assert line == "cluster label: 3 images have no label: training leaves them out (cluster.missing=drop)"
