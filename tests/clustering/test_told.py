from typing import Any

from pipeline.clustering.told import told

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
    assert list(told("chosen", STATISTICS)) == [
        "cluster chosen: 1,200 clusters by hashtags, I(Z;T) 1.23, H(Z|T) 2.00 bits",
        "cluster chosen: joined #sea",
        "cluster chosen: nothing is known of 3 images (cluster.missing)",
        "cluster chosen: many_singletons: 30 % are alone. Use fewer tags.",
    ]


def test_without_labels() -> None:
    unlabelled = STATISTICS | {
        "mutual_information_bits": None,
        "notes": [],
        "images_missing": 0,
        "findings": [],
    }
    assert list(told("chosen", unlabelled)) == [
        "cluster chosen: 1,200 clusters by hashtags, no labels to compare with"
    ]
