"""Sets of a few images, smaller than any batch, queue or number of prototypes, go all the way."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.clustering.run import cluster
from pipeline.config.params import Params
from pipeline.evaluation.run import evaluate
from pipeline.ingest.run import ingest
from pipeline.objectives.registry import OBJECTIVES
from pipeline.report.run import build_report
from pipeline.storage.schema import Layout
from pipeline.training.context import TrainingContext
from pipeline.training.run import train
from support import params_with

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


def params_of(objective: str, path: Path) -> Params:
    """All of the objective's own settings are the defaults."""
    return params_with(
        ingest={"source": "manifest", "path": str(path), "image_size": 12},
        cluster={"method": "attributes", "attributes": {"columns": ["colour"]}},
        pretrain={"objective": objective, "epochs": 1, "precision": "float32"},
        report={"references": []},
    )


@pytest.mark.parametrize("images", [4, 9])
def test_every_objective_trains_on_few_images(
    manifest: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: int
) -> None:
    """Of 4 images 3 are train, of 9 there are 7."""
    monkeypatch.setenv("CLINFONCE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CLINFONCE_DEVICE", "cpu")
    layout, path = Layout(tmp_path / "data"), manifest(images)
    params = params_of("cl_infonce", path)
    ingest(params.ingest, 0, layout)
    cluster(params.cluster, "chosen", params.pretrain.batch_size, 0, layout)
    for objective in OBJECTIVES:
        params = params_of(objective, path)
        train(params.pretrain, TrainingContext("chosen", 0, 12, CPU), layout)
        history = (layout.encoder("chosen") / "history.csv").read_text().splitlines()
        assert len(history) == 2, objective
        loss = float(history[-1].split(",")[1].strip('"'))
        assert math.isfinite(loss), objective
    metrics = evaluate(params.evaluate, "chosen", 0, layout)
    assert metrics["top1"] is not None
    build_report(params, layout)
