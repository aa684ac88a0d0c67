"""Layers that stay, and layers that train more slowly than those behind them."""

import pytest
import torch
from torch import nn

from pipeline.encoders.base import Encoder
from pipeline.encoders.layers import freeze_first, groups_of, rate_factors
from pipeline.encoders.registry import architecture_of, build_plain_encoder

pytestmark = pytest.mark.slow

NAMES = ["patch_resnet", "resnet18", "timm/resnet10t", "timm/convnext_atto", "timm/vit_tiny_patch16_224"]


def built(name: str) -> Encoder:
    torch.manual_seed(0)
    return build_plain_encoder(architecture_of(name, "auto", 32))


@pytest.mark.parametrize("stages", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_each_tensor_is_in_one_group_and_the_first_convolution_in_the_first(name: str, stages: bool) -> None:
    backbone = built(name).backbone
    groups = groups_of(backbone, stages=stages)
    members = [member for group in groups for member in group]
    assert sorted(members) == sorted(backbone.state_dict())
    assert len(groups) >= 5
    # The input reaches the groups in their order.
    place_of = {member: place for place, group in enumerate(groups) for member in group}
    reached: list[int] = []
    for prefix, module in backbone.named_modules():
        if any(True for _ in module.parameters(recurse=False)) and f"{prefix}.weight" in place_of:
            place = place_of[f"{prefix}.weight"]
            module.register_forward_hook(lambda *_args, place=place: reached.append(place))
    backbone.eval()(torch.zeros(2, 3, 32, 32))
    # The summary of patches stands beside the trunk.
    assert reached == sorted(reached) or name == "patch_resnet"


@pytest.mark.parametrize("name", NAMES)
def test_the_first_stages_stay_as_they_are(name: str) -> None:
    encoder = built(name)
    groups = groups_of(encoder.backbone, stages=True)
    share = 2.5 / len(groups)
    freeze_first(encoder, share)
    before = {key: value.clone() for key, value in encoder.backbone.state_dict().items()}
    encoder.train()
    optimizer = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=0.1)
    encoder(torch.randn(4, 3, 32, 32)).square().mean().backward()
    optimizer.step()
    changed = {
        key for key, value in encoder.backbone.state_dict().items() if not torch.equal(value, before[key])
    }
    assert changed
    assert not changed & {member for group in groups[:2] for member in group}
    frozen = [m for m in encoder.backbone.modules() if isinstance(m, nn.BatchNorm2d) and not m.training]
    assert bool(frozen) == any("running_mean" in member for group in groups[:2] for member in group)


def test_a_share_of_no_whole_stage_freezes_nothing() -> None:
    encoder = built("resnet18")
    freeze_first(encoder, 0.19)
    assert all(weight.requires_grad for weight in encoder.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_the_rate_falls_towards_the_input(name: str) -> None:
    backbone = built(name).backbone
    groups, factors = groups_of(backbone, stages=False), rate_factors(backbone, 0.5)
    assert set(factors) == set(backbone.state_dict())
    for place, group in enumerate(groups):
        assert {factors[member] for member in group} == {0.5 ** (len(groups) - 1 - place)}
