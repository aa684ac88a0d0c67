"""Pixels in memory are those of the shards, and labels are never read."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.dataset import dataset
from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.pixels import load_pixels
from pipeline.ingest.run import ingest
from pipeline.runtime.errors import UserError
from pipeline.storage.schema import Layout
from pipeline.storage.validation import read_parquet
from support import params_with, png


def stored(path: Path, root: Path) -> Path:
    params = params_with(ingest={"source": "manifest", "path": str(path)})
    ingest(params.ingest, 0, Layout(root))
    return root / "images"


def test_images_of_several_sizes_lie_at_the_top_left(manifest: Callable[..., Path], tmp_path: Path) -> None:
    path = manifest(8)
    (path.parent / "images/001.png").write_bytes(png(1, width=10, height=30))
    store = load_pixels(ImageSplit(stored(path, tmp_path), "train"))
    assert store.ids[:2] == ["images/000.png", "images/001.png"]
    assert store.canvas_NCHW.shape == (6, 3, 20, 12)
    assert store.sizes_N2[:2].tolist() == [[12, 12], [20, 10]]
    # The tall image is cut to twice its width, in the middle.
    tall = np.asarray(Image.open(io.BytesIO(png(1, width=10, height=30))))
    np.testing.assert_array_equal(store.canvas_NCHW[1, :, :20, :10].permute(1, 2, 0).numpy(), tall[5:25])
    assert store.canvas_NCHW[1, :, :, 10:].count_nonzero() == 0


def test_labels_are_not_read(
    manifest: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = stored(manifest(8), tmp_path)
    read: list[str] = []

    def spy(path: Path, columns: list[str]) -> object:
        read.extend(columns)
        return read_parquet(path, columns=columns)

    monkeypatch.setattr(dataset, "read_parquet", spy)
    load_pixels(ImageSplit(images, "train"))
    assert set(read) == {"id", "width", "height"}


def test_missing_shards_are_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"summary\.json is missing: run `dvc repro`"):
        load_pixels(ImageSplit(tmp_path, "train"))
