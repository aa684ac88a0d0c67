"""Features that an executor makes in parts are those of the whole split."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from drawn_encoders import write_drawn_encoder
from pipeline.dataset.dataset import ImageDataset, ImageSplit
from pipeline.dataset.pixels import load_pixels
from pipeline.evaluation import parallel_features as spread
from pipeline.evaluation.features import features_of, load_encoder
from pipeline.executors.base import Job
from pipeline.executors.select import ExecutorName
from pipeline.ingest.run import ingest
from pipeline.storage.schema import Layout
from support import params_with

CPU = torch.device("cpu")


class Here:
    """Ray's place taken by this process."""

    ahead = 0

    def submit(self, job: Job) -> "Here":
        job.make(*job.arguments, job.path)
        return self

    def wait(self) -> None: ...


def test_parts_are_put_together_in_order(
    manifest: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINFONCE_WORKERS", "1")
    monkeypatch.setenv("CLINFONCE_DEVICE", "cpu")
    monkeypatch.setattr(spread, "IMAGES_PER_JOB", 5)
    monkeypatch.setattr(spread, "open_executor", lambda _name, **_options: nullcontext(Here()))
    layout = Layout(tmp_path)
    ingest(params_with(ingest={"source": "manifest", "path": str(manifest(24))}).ingest, 0, layout)
    folder = write_drawn_encoder(Layout(tmp_path / "other"))
    found = spread.features_by_executor(folder, ImageDataset(layout.images), ExecutorName.RAY)
    trained = load_encoder(folder, CPU)
    for split, features_ND in zip(("train", "test"), found, strict=True):
        expected_ND = features_of(trained, load_pixels(ImageSplit(layout.images, split)), CPU)
        assert features_ND.shape == expected_ND.shape
        np.testing.assert_allclose(features_ND.numpy(), expected_ND.numpy(), rtol=1e-5, atol=1e-5)
