"""The networks on whitened patches, against plain loops and as a card shows them."""

import inspect
from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.encoders.base import Architecture
from pipeline.encoders.patches import PatchResNet, WhitenedPatches
from pipeline.encoders.registry import NAMES, PATCH_RESNET, architecture_of, build_encoder
from pipeline.encoders.whitening import fit


def test_responses_are_how_well_filters_fit_at_each_place() -> None:
    torch.manual_seed(0)
    layer = WhitenedPatches(filters=3, features=5).double()
    images = torch.randn(2, 3, 11, 13, dtype=torch.float64)
    responses = layer.responses(images)
    assert responses.shape == (2, 6, 3, 4)
    assert layer.patches.bias is not None
    for image, filter_, row, column in product(range(2), range(3), range(3), range(4)):
        patch = images[image, :, 2 * row : 2 * row + 6, 2 * column : 2 * column + 6]
        fit_ = float((patch * layer.patches.weight[filter_]).sum() + layer.patches.bias[filter_])
        assert float(responses[image, filter_, row, column]) == pytest.approx(max(fit_ - 0.3, 0))
        assert float(responses[image, 3 + filter_, row, column]) == pytest.approx(max(-fit_ - 0.3, 0))


@pytest.mark.parametrize("size", [8, 9, 12, 32, 33, 64])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_features_of_every_image_size(size: int, stride: int) -> None:
    encoder = build_encoder(Architecture(PATCH_RESNET, stride, size)).eval()
    features = encoder(torch.randn(2, 3, size, size))
    assert features.shape == (2, encoder.feature_dim)
    assert bool(torch.isfinite(features).all())


def test_the_maps_stay_large_until_late() -> None:
    encoder = build_encoder(Architecture(PATCH_RESNET, 2, 32)).eval()
    sides: list[int] = []
    for module in encoder.modules():
        if isinstance(module, PatchResNet.Residual):
            module.register_forward_hook(lambda _m, _i, output: sides.append(output.shape[-1]))
    encoder(torch.zeros(1, 3, 32, 32))
    assert sides == [14, 7, 4]


def test_the_filters_are_not_trained_and_the_rest_is() -> None:
    encoder = build_encoder(Architecture(PATCH_RESNET, 2, 32))
    fixed = [name for name, weight in encoder.named_parameters() if not weight.requires_grad]
    assert fixed == [
        "backbone.first.patches.weight",
        "backbone.first.patches.bias",
        "backbone.whitening.weight",
        "backbone.whitening.bias",
    ]
    encoder(torch.randn(4, 3, 16, 16)).square().sum().backward()
    assert all(weight.grad is not None for weight in encoder.parameters() if weight.requires_grad)


def test_features_hold_the_untrained_summary() -> None:
    """What training starts from knows at least as much as the filters do."""
    images = torch.randn(64, 3, 16, 16)
    network = PatchResNet().eval()
    fit(network.first, lambda: [images], len(images), seed=0)
    torch.testing.assert_close(network(images)[:, -256:], network.first(images))


def test_the_classes_need_nothing_but_torch() -> None:
    names: dict[str, Any] = {"torch": torch, "Tensor": torch.Tensor, "nn": nn}
    for kind in (WhitenedPatches, PatchResNet):
        exec(inspect.getsource(kind), names)  # noqa: S102 - the lines that users will run
    mine, theirs = PatchResNet(4).eval(), names["PatchResNet"](4).eval()
    theirs.load_state_dict(mine.state_dict())
    images = torch.randn(2, 3, 24, 24)
    torch.testing.assert_close(theirs(images), mine(images))


def test_auto_takes_larger_steps_on_larger_images() -> None:
    sizes = (8, 32, 63, 64, 224)
    strides = [architecture_of(PATCH_RESNET, "auto", size).stem_stride for size in sizes]
    assert strides == [2, 2, 2, 4, 4]


@pytest.mark.parametrize("stride", [0, -1, 3, "2", None, [2], 2.5, 10**9])
@pytest.mark.parametrize("name", ["patch_resnet", "resnet18", "whitened_patches"])
def test_another_stride_is_refused(name: str, stride: Any) -> None:
    """It stands in the configuration of an encoder that someone else hands on."""
    with pytest.raises(ValueError, match="must be 1, 2 or 4"):
        build_encoder(Architecture(name, stride, 32))


def test_another_name_is_refused_in_a_line() -> None:
    with pytest.raises(ValueError, match="must be one of patch_resnet, resnet18") as refused:
        build_encoder(Architecture("x" * 1000, 2, 32))
    assert len(str(refused.value)) < 400
    assert "whitened_patches" in NAMES
