"""What no machine trains is refused with its figure, before anything is allocated."""

import pytest
import torch
from torch import nn

from pipeline.config.pretrain import PretrainParams
from pipeline.encoders.base import Architecture
from pipeline.encoders.registry import build_encoder, build_plain_encoder
from pipeline.objectives.base import DataInfo
from pipeline.objectives.registry import OBJECTIVES
from pipeline.runtime.errors import UserError
from pipeline.training.demand import MOST_STEPS, check_memory, check_steps
from pipeline.training.network import Network

CPU = torch.device("cpu")


def planned(params: PretrainParams, stem_stride: int = 4) -> Network:
    with torch.device("meta"):
        encoder = build_plain_encoder(Architecture(params.encoder, stem_stride, 32))
        return Network(
            encoder, OBJECTIVES[params.objective].build(encoder.feature_dim, params, DataInfo(9, 7))
        )


@pytest.mark.parametrize(
    ("epochs", "images", "steps"),
    [(100_000, 10**9, 781_250_000_000), (2, 128 * MOST_STEPS, 2 * MOST_STEPS), (1, 128 * MOST_STEPS, None)],
)
def test_steps_that_nobody_waits_for(epochs: int, images: int, steps: int | None) -> None:
    params = PretrainParams(epochs=epochs)
    if steps is None:
        check_steps(params, images)
        return
    with pytest.raises(UserError, match=f"would be {steps:,} steps, more than 100,000,000: lower the epochs"):
        check_steps(params, images)


def test_a_set_that_fills_no_batch_is_one() -> None:
    check_steps(PretrainParams(epochs=100_000), 3)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_is_planned_without_memory(objective: str) -> None:
    network = planned(PretrainParams.model_validate({"objective": objective}))
    assert {tensor.device.type for tensor in (*network.parameters(), *network.buffers())} == {"meta"}
    check_memory(PretrainParams(), network, 32, 128, CPU, 16 << 30)


def test_weights_count_thrice_and_those_of_the_target_once() -> None:
    params = PretrainParams.model_validate({"objective": "byol", "byol": {"hidden": 2**16}})
    network = planned(params)
    trained = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    copied = sum(weight.numel() for weight in network.parameters() if not weight.requires_grad)
    assert copied > 2**16 * (768 + 128)
    enough = 4 * (3 * trained + copied) + sum(b.numel() * b.element_size() for b in network.buffers())
    check_memory(params, network, 32, 1, torch.device("cuda"), enough)
    with pytest.raises(UserError) as raised:
        check_memory(params, network, 32, 1, torch.device("cuda"), enough - 1)
    assert f"has {trained + copied:,} weights, which take {enough / 2**30:,.1f} GiB" in str(raised.value)
    assert "lower pretrain.projection_dim or the sizes in pretrain.byol" in str(raised.value)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_takes_what_its_layers_keep(precision: str) -> None:
    """Of two convolutions with a ReLU between them: the view, and the response that both keep."""
    params = PretrainParams.model_validate({"precision": precision})
    network = planned(params)
    network.encoder.backbone = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1, device="meta"),
        nn.ReLU(),
        nn.Conv2d(5, 1, 3, padding=1, device="meta"),
        nn.AdaptiveAvgPool2d(1),
    )
    weights = sum(3 * p.numel() if p.requires_grad else p.numel() for p in network.parameters()) * 4
    weights += sum(b.numel() * b.element_size() for b in network.buffers())
    bytes_each = 4 if precision == "float32" else 2
    of_a_view = 64**2 * (3 * 4 + 5 * bytes_each)
    enough = weights + 2 * 10 * of_a_view
    check_memory(params, network, 64, 10, CPU, enough)
    with pytest.raises(
        UserError, match=r"a step of 10 images of 64 pixels .*set pretrain.micro_batch to 9 or less"
    ):
        check_memory(params, network, 64, 10, CPU, enough - 1)
    with pytest.raises(UserError, match=r"choose a smaller ingest\.image_size or pretrain\.encoder"):
        check_memory(params, network, 64, 10, CPU, weights + of_a_view)


def test_what_is_kept_is_no_more_than_what_a_training_takes() -> None:
    """Or trainings that fit would be refused: against the bytes that autograd really holds."""
    params = PretrainParams.model_validate({"encoder": "resnet18", "precision": "float32"})
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    encoder = build_encoder(Architecture("resnet18", 4, 64))
    own = {tensor.data_ptr() for tensor in (*encoder.parameters(), *encoder.buffers())}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        views = torch.rand(8, 3, 64, 64)
        encoder(views)
    held = sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in own)
    network = planned(params)
    weights = sum(3 * p.numel() if p.requires_grad else p.numel() for p in network.parameters()) * 4
    weights += sum(b.numel() * b.element_size() for b in network.buffers())
    check_memory(params, network, 64, 4, CPU, weights + held)
