"""A short training of every objective: it ends, resumes, and refuses data without what it learns from."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from operations import WAITS, Operations
from pipeline.clustering.run import cluster
from pipeline.config.pretrain import PretrainParams
from pipeline.dataset.attributes import attribute_vectors
from pipeline.ingest.run import ingest
from pipeline.objectives.registry import OBJECTIVES
from pipeline.objectives.traits import TRAITS
from pipeline.runtime.errors import UserError
from pipeline.storage.schema import Layout
from pipeline.training import run as training
from pipeline.training import setup as build
from pipeline.training.shutdown import Interrupted
from pipeline.training.trainer import Trainer
from support import TINY_OBJECTIVES, TINY_PRETRAIN, params_with

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = TINY_OBJECTIVES | {"batch_size": 4, "epochs": 2}


@pytest.fixture
def layout(manifest: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """16 train images of 12 pixels, in clusters by k-means, which are remade."""
    monkeypatch.setenv("CLINFONCE_STATE_DIR", str(tmp_path / "state"))
    result = Layout(tmp_path)
    ingest(params_with(ingest={"source": "manifest", "path": str(manifest(21))}).ingest, 0, result)
    section = {"method": "kmeans", "kmeans": {"clusters": 3, "min_points": 1}}
    cluster(params_with(cluster=section).cluster, "chosen", 16, 0, result)
    return result


def train(layout: Layout, objective: str, **changes: Any) -> bytes:
    params = PretrainParams.model_validate(TINY_PRETRAIN | SMALL | {"objective": objective} | changes)
    training.pretrain(params, "chosen", 12, 0, layout)
    return (layout.encoder("chosen") / "encoder.safetensors").read_bytes()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_stopped_within_an_epoch_it_ends_with_the_same_bytes(
    layout: Layout, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, seen, taken = Trainer.train_step, Operations(), 0

    def watched(trainer: Trainer, *arguments: Any) -> torch.Tensor:
        with seen:
            return step(trainer, *arguments)

    monkeypatch.setattr(Trainer, "train_step", watched)
    undisturbed = train(layout, objective, optimizer="sgd")
    assert {"convolution", "convolution_backward"} <= seen.names
    assert seen.names & WAITS == set()

    def stopping(trainer: Trainer, *arguments: Any) -> torch.Tensor:
        nonlocal taken
        taken += 1
        if taken in (2, 6):
            os.kill(os.getpid(), signal.SIGTERM)
        return step(trainer, *arguments)

    monkeypatch.setattr(Trainer, "train_step", stopping)
    for _ in range(2):
        with pytest.raises(Interrupted):
            train(layout, objective, optimizer="sgd")
    assert train(layout, objective, optimizer="sgd") == undisturbed
    assert taken == 8


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_encoder_learns_in_parts_too(layout: Layout, objective: str) -> None:
    weights = {train(layout, objective, micro_batch=micro_batch, epochs=1) for micro_batch in (2, 4)}
    assert len(weights) == 2, "batch norm sees the part"


@pytest.mark.parametrize(
    "objective", [name for name, traits in TRAITS.items() if traits.learns_from == "attributes"]
)
def test_missing_attributes_are_told_before_anything_is_trained(
    layout: Layout, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "attribute_vectors", lambda _train: ([], None))
    with pytest.raises(
        UserError, match=rf"pretrain.objective={objective} learns from attributes, and the data has none"
    ):
        train(layout, objective)


def test_only_who_needs_attributes_reads_them(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[str] = []

    def spy(images: Any) -> Any:
        requested.append("attributes")
        # Labels are not so much as read.
        monkeypatch.setattr(type(images), "labels", property(lambda _self: pytest.fail("reads labels")))
        return attribute_vectors(images)

    monkeypatch.setattr(build, "attribute_vectors", spy)
    train(layout, "cl_infonce", epochs=1)
    assert not requested
    train(layout, "cmc", epochs=1)
    assert requested


def test_references_are_cl_infonce_s(layout: Layout) -> None:
    cluster(params_with(cluster={"method": "instance"}).cluster, "instance", 16, 0, layout)
    weights = []
    for objective in ("byol", "cl_infonce"):
        params = PretrainParams.model_validate(TINY_PRETRAIN | SMALL | {"objective": objective, "epochs": 1})
        training.pretrain(params, "instance", 12, 0, layout)
        weights.append((layout.encoder("instance") / "encoder.safetensors").read_bytes())
    assert weights[0] == weights[1]
