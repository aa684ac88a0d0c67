import pytest

from pipeline.dataset.noise import noise_notes


def test_noise_is_counted() -> None:
    rows = {"0": 5, "-1": 1200, "1": 7, "12": 3}
    assert noise_notes([("kind", {"a": 1}), ("cluster", rows), ("other", rows)]) == [
        "-1 counts as one cluster like any other, in cluster (1,200 rows), other (1,200 rows): leave such "
        "cells empty if it stands for noise, as DBSCAN and HDBSCAN write it"
    ]


@pytest.mark.parametrize(
    "values", ["", "0 1 2 3", "-1 0 1", "-1 1", "-1 0 1 x", "-2 -1 0 1 2", "-1 0 1 1.5 2", "-1 1 2 3"]
)
def test_columns_without_noise(values: str) -> None:
    assert noise_notes([("column", dict.fromkeys(values.split(), 3))]) == []
