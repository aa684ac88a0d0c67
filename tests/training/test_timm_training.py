"""Networks of timm under every objective: stopped and resumed, and in two processes."""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file

from operations import WAITS, Operations
from pipeline.clustering.run import cluster
from pipeline.config.pretrain import PretrainParams
from pipeline.encoders.base import Encoder
from pipeline.ingest.run import ingest
from pipeline.objectives.registry import OBJECTIVES
from pipeline.runtime.distributed import Ranks
from pipeline.storage.schema import Layout
from pipeline.training import run as training
from pipeline.training import setup as build
from pipeline.training.context import TrainingContext
from pipeline.training.network import Network
from pipeline.training.shutdown import Interrupted
from pipeline.training.trainer import Trainer
from processes import in_ranks
from support import TINY_PRETRAIN, params_with

pytestmark = pytest.mark.slow

NETWORKS = ["timm/test_vit", "timm/test_convnext"]
"""A few thousand weights each, with the layers of the large ones."""
SIZE = 32
SMALL: dict[str, Any] = {
    "batch_size": 4,
    "epochs": 1,
    "stem_stride": "auto",
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "moco": {"queue": 6},
    "pcl": {"clusters": [3, 4], "negatives": 2, "queue": 6, "warmup_fraction": 0.5},
    "swav": {"prototypes": 5, "queue": 4, "queue_from": 0.3},
    "byol": {"hidden": 8},
    "simsiam": {"hidden": 4},
    "iccl": {"hidden": 8},
    "dual_head": {"hidden": 8},
}


@pytest.fixture
def layout(manifest: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("CLINFONCE_STATE_DIR", str(tmp_path / "state"))
    result = Layout(tmp_path)
    ingest(params_with(ingest={"source": "manifest", "path": str(manifest(21))}).ingest, 0, result)
    section = {"method": "kmeans", "kmeans": {"clusters": 3, "min_points": 1}}
    cluster(params_with(cluster=section).cluster, "chosen", 16, 0, result)
    return result


def params_of(**changes: Any) -> PretrainParams:
    return PretrainParams.model_validate(TINY_PRETRAIN | SMALL | changes)


def train(layout: Layout, **changes: Any) -> bytes:
    training.pretrain(params_of(**changes), "chosen", SIZE, 0, layout)
    return (layout.encoder("chosen") / "encoder.safetensors").read_bytes()


@pytest.mark.parametrize("encoder", NETWORKS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_stopped_within_an_epoch_it_ends_with_the_same_bytes(
    layout: Layout, objective: str, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, seen, taken = Trainer.train_step, Operations(), 0

    def watched(trainer: Trainer, *arguments: Any) -> torch.Tensor:
        with seen:
            return step(trainer, *arguments)

    monkeypatch.setattr(Trainer, "train_step", watched)
    undisturbed = train(layout, objective=objective, encoder=encoder)
    assert seen.names & WAITS == set()

    def stopping(trainer: Trainer, *arguments: Any) -> torch.Tensor:
        nonlocal taken
        taken += 1
        if taken == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(trainer, *arguments)

    monkeypatch.setattr(Trainer, "train_step", stopping)
    with pytest.raises(Interrupted):
        train(layout, objective=objective, encoder=encoder)
    assert train(layout, objective=objective, encoder=encoder) == undisturbed
    assert taken == 4


WAYS: dict[str, dict[str, Any]] = {
    name: {"encoder": f"timm/{name}", "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.0}
    # The last one merges activations into its batch norms.
    for name in ("test_vit", "test_convnext", "test_efficientnet")
}


def train_all(ranks: Ranks, layout: Layout) -> dict[str, dict[str, torch.Tensor]]:
    """Every network, in this process's place, in float64; the weights that the first rank wrote."""
    variables = {
        "CLINFONCE_STATE_DIR": str(layout.root / "states"),
        "CLINFONCE_LOADER": "sharded" if ranks.world_size > 1 else "resident",
    }
    forward = Encoder.forward
    found = {}
    with (
        patch.dict(os.environ, variables),
        patch.object(Encoder, "forward", lambda encoder, images: forward(encoder, images.double())),
        patch.object(build, "Network", lambda encoder, objective: Network(encoder, objective).double()),
    ):
        for way, changes in WAYS.items():
            params = params_of(batch_size=8, **changes)
            training.train(params, TrainingContext("chosen", 0, SIZE, torch.device("cpu"), ranks), layout)
            if ranks.is_main:
                found[way] = load_file(layout.encoder("chosen") / "encoder.safetensors")
    return found


def test_two_processes_train_as_one(layout: Layout, tmp_path: Path) -> None:
    together, _ = in_ranks(2, tmp_path / "ranks", train_all, layout)
    alone = train_all(Ranks(), layout)
    for way, weights in alone.items():
        for name, value in weights.items():
            torch.testing.assert_close(
                together[way][name], value, rtol=1e-6, atol=1e-6, msg=partial("{} {}: {}".format, way, name)
            )
