"""Batch norm over two processes against torch's own over their joined batch."""

from pathlib import Path

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from pipeline.runtime.distributed import Ranks
from pipeline.training.sync_batchnorm import GlobalBatchNorm, synchronised
from processes import in_ranks


def batch() -> Tensor:
    # A mean far from zero shows whether the variance keeps its digits.
    return 5 + torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    torch.manual_seed(1)
    # timm merges activations into batch norms.
    merged = BatchNormAct2d(6, act_layer=nn.SiLU)
    last = nn.Sequential(nn.BatchNorm2d(6))
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), merged, last)


def passed(net: nn.Module, images: Tensor) -> dict[str, Tensor]:
    images = images.clone().requires_grad_()
    output = net(images)
    (output.sigmoid() * torch.linspace(0, 1, 6)[:, None, None]).sum().backward()
    assert images.grad is not None
    return {"output": output.detach(), "gradient": images.grad}


def own_half(ranks: Ranks) -> dict[str, Tensor]:
    net = synchronised(network(), ranks, torch.device("cpu"))
    result = passed(net, batch()[ranks.share(8)])
    weights = {
        f"grad {name}": ranks.all_reduce_sum(p.grad)
        for name, p in net.named_parameters()
        if p.grad is not None
    }
    state = {name: value.double() for name, value in net.state_dict().items()}
    net.eval()
    return result | weights | state | {"evaluated": net(batch()).detach()}


def test_two_processes_see_one_batch(tmp_path: Path) -> None:
    net = network()
    whole = passed(net, batch())
    first, second = in_ranks(2, tmp_path, own_half)
    for name in ("output", "gradient"):
        torch.testing.assert_close(torch.cat([first[name], second[name]]), whole[name], atol=1e-5, rtol=1e-5)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(first[f"grad {name}"], parameter.grad, atol=1e-4, rtol=1e-4)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(first[name], value.double(), atol=1e-5, rtol=1e-5)
        assert torch.equal(first[name], second[name])
    net.eval()
    torch.testing.assert_close(first["evaluated"], net(batch()).detach(), atol=1e-5, rtol=1e-5)


def test_one_process_keeps_torchs_own() -> None:
    net = synchronised(network(), Ranks(), torch.device("cpu"))
    assert not any(isinstance(module, GlobalBatchNorm) for module in net.modules())
