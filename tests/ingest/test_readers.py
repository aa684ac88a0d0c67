"""Hugging Face `datasets`, DuckDB and Polars read what ingest writes, as it lies there."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.ingest import shard_writer as shards
from pipeline.ingest.run import ingest
from pipeline.storage.schema import Layout
from support import params_with

ROWS = 24
OF_LABELS = ["cat", "dog", "", "=1+1"]
TRAIN = [number for number in range(ROWS) if number % 4 != 3]


@pytest.fixture
def data(manifest: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """18 train images in several shards and 6 test images, some of them without a label, with all that can
    be known of an image."""
    monkeypatch.setattr(shards, "BYTES_PER_SHARD", 4000)
    monkeypatch.setattr(shards, "ROWS_PER_GROUP", 4)
    table = manifest(
        ROWS,
        label=[OF_LABELS[number % 4] for number in range(ROWS)],
        kingdom=["animal"] * ROWS,
        family=[["feline", "canine"][number % 2] for number in range(ROWS)],
    )
    columns = {"hierarchy": ["kingdom", "family"]}
    params = params_with(ingest={"source": "manifest", "path": str(table), "columns": columns})
    ingest(params.ingest, 0, Layout(tmp_path / "data"))
    assert len(list((tmp_path / "data/images").glob("train-*.parquet"))) > 2
    return tmp_path / "data/images"


def test_hugging_face_datasets(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="the dependency group `readers` is not installed")
    files = sorted(map(str, data.glob("train-*.parquet")))
    rows = datasets.Dataset.from_parquet(files, cache_dir=str(tmp_path / "cache"))
    assert isinstance(rows.features["image"], datasets.Image)
    assert len(rows) == len(TRAIN)
    for number, row in zip(TRAIN, rows, strict=True):
        with Image.open(tmp_path / f"source/images/{number:03d}.png") as source:
            np.testing.assert_array_equal(np.asarray(row["image"]), np.asarray(source))
        assert row["label"] == (OF_LABELS[number % 4] or None)
        assert row["hashtags"] == ["#Pet", f"tag{number % 5}"]
        assert row["attributes"]["colour"] == ["red", "blue", "green"][number % 3]
        assert row["hierarchy"] == ["animal", ["feline", "canine"][number % 2]]
        assert (row["width"], row["height"]) == (12, 12)


def test_duckdb(data: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="the dependency group `readers` is not installed")

    def answers(question: str) -> list[tuple[Any, ...]]:
        answer: list[tuple[Any, ...]] = duckdb.execute(question, [f"{data}/*-of-*.parquet"]).fetchall()
        return answer

    counted = answers("SELECT label, count(*) FROM read_parquet(?) GROUP BY label")
    assert dict(counted) == Counter(OF_LABELS[number % 4] or None for number in range(ROWS))
    red = answers(
        "SELECT count(*) FROM read_parquet(?) "
        "WHERE attributes.colour = 'red' AND list_contains(hashtags, 'tag0')"
    )
    assert red == [(sum(number % 15 == 0 for number in range(ROWS)),)]
    of_families = answers("SELECT hierarchy[2], count(*) FROM read_parquet(?) GROUP BY 1")
    assert dict(of_families) == {"feline": ROWS // 2, "canine": ROWS // 2}
    assert answers("SELECT DISTINCT image.bytes[1:4] FROM read_parquet(?)") == [(b"\x89PNG",)]


def test_polars(data: Path) -> None:
    polars = pytest.importorskip("polars", reason="the dependency group `readers` is not installed")
    images = polars.scan_parquet(f"{data}/train-*.parquet")
    cats = images.filter(polars.col("label") == "cat").select(
        "id",
        colour=polars.col("attributes").struct.field("colour"),
        tags=polars.col("hashtags").list.len(),
        family=polars.col("hierarchy").list.get(1),
        start=polars.col("image").struct.field("bytes").bin.head(4),
    )
    found = cats.collect()
    assert found["id"].to_list() == [f"images/{number:03d}.png" for number in TRAIN if number % 4 == 0]
    assert set(found["family"]) == {"feline"}
    assert set(found["tags"]) == {2}
    assert found["colour"].to_list() == [["red", "blue", "green"][n % 3] for n in TRAIN if n % 4 == 0]
    assert set(found["start"]) == {b"\x89PNG"}
