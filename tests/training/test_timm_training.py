"""Networks of timm under every objective: stopped and resumed, and in two processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.registry import OBJECTIVES
from pipeline.runtime.distributed import Ranks
from pipeline.runtime.errors import UserError
from pipeline.storage.schema import Layout
from pipeline.training import run as training
from processes import in_ranks
from support import TINY_OBJECTIVES, TINY_PRETRAIN
from training.ranks import assert_equal_weights, train_each
from training.resume import assert_resumes

pytestmark = pytest.mark.slow

NETWORKS = ["timm/test_vit", "timm/test_convnext"]
"""A few thousand weights each, with the layers of the large ones."""
SIZE = 32
CHANGES: dict[str, Any] = {
    "batch_size": 4,
    "epochs": 1,
    "stem_stride": "auto",
    "optimizer": "sgd",
    "learning_rate": 0.01,
}


@pytest.fixture
def layout(clustered: Callable[..., Layout]) -> Layout:
    return clustered(21, method="kmeans", kmeans={"clusters": 3, "min_points": 1})


def params_of(**changes: Any) -> PretrainParams:
    return PretrainParams.model_validate(TINY_PRETRAIN | TINY_OBJECTIVES | CHANGES | changes)


def train(layout: Layout, **changes: Any) -> bytes:
    training.pretrain(params_of(**changes), "chosen", SIZE, 0, layout)
    return (layout.encoder("chosen") / "encoder.safetensors").read_bytes()


@pytest.mark.parametrize("encoder", NETWORKS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_stopped_within_an_epoch_it_ends_with_the_same_bytes(
    layout: Layout, objective: str, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_resumes(lambda: train(layout, objective=objective, encoder=encoder), 4, monkeypatch)


@pytest.mark.parametrize("encoder", NETWORKS)
def test_activations_that_are_computed_again_give_the_same_weights(
    layout: Layout, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = train(layout, encoder=encoder)
    segments = 0
    checkpoint = torch.utils.checkpoint.checkpoint

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal segments
        segments += 1
        return checkpoint(*arguments, **options)

    monkeypatch.setattr(torch.utils.checkpoint, "checkpoint", counted)
    assert train(layout, encoder=encoder, gradient_checkpointing=True) == kept
    assert segments > 0


def test_networks_without_checkpoints_are_refused(layout: Layout) -> None:
    with pytest.raises(UserError, match=r"^pretrain.gradient_checkpointing: timm does not offer it for this"):
        train(layout, encoder="timm/vgg11", gradient_checkpointing=True)
    with pytest.raises(UserError, match=r"the batch norms of this network would count each batch twice"):
        train(layout, encoder="timm/test_efficientnet", gradient_checkpointing=True)
    with pytest.raises(ValueError, match=r"has no effect on pretrain.encoder=resnet18"):
        params_of(encoder="resnet18", gradient_checkpointing=True)


WAYS: dict[str, dict[str, Any]] = {
    name: {"encoder": f"timm/{name}", "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.0}
    # The last one merges activations into its batch norms.
    for name in ("test_vit", "test_convnext", "test_efficientnet")
}


def test_two_processes_train_as_one(layout: Layout, tmp_path: Path) -> None:
    ways = {way: params_of(batch_size=8, **changes) for way, changes in WAYS.items()}
    together, _ = in_ranks(2, tmp_path / "ranks", train_each, layout, ways, SIZE)
    assert_equal_weights(together, train_each(Ranks(), layout, ways, SIZE))
