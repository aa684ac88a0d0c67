"""A step in micro-batches against the step in one, and what it says when the memory is full."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from pipeline.encoders.base import Encoder
from pipeline.objectives.base import Batch, StepInfo
from pipeline.objectives.cl_infonce import ClInfoNCE
from pipeline.runtime.distributed import ALONE
from pipeline.training.network import Network, frozen_statistics
from pipeline.training.step import Step, largest_that_fits

CPU = torch.device("cpu")
IMAGES = 12


def network(*, norm: bool) -> Network:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8) if norm else nn.Identity(), nn.Tanh(), nn.Flatten()]
    encoder = Encoder(nn.Sequential(*layers), 8 * 4 * 4)
    return Network(encoder, ClInfoNCE(8 * 4 * 4, 5, 0.3)).double()


def batch_norm_of(net: Network) -> nn.BatchNorm2d:
    norm = net.encoder.backbone.get_submodule("1")
    assert isinstance(norm, nn.BatchNorm2d)
    return norm


def pixels() -> Tensor:
    return torch.rand(IMAGES, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def views(rows: Tensor, places: Tensor) -> Tensor:
    """Each place of the batch has a light of its own, so that a view in a wrong place shows."""
    return pixels()[rows % IMAGES] * (1 + places[:, None, None, None] / 10)


def gradients(net: Network, micro_batch: int) -> tuple[float, dict[str, Tensor]]:
    step = Step(net, net, ALONE, nullcontext(), CPU, batch_size=IMAGES, micro_batch=micro_batch)
    batch = Batch(torch.arange(IMAGES), torch.tensor([0, 0, 0, 1, 1, 2, 3, 4, 4, 4, 4, 5]))
    loss = step.run(views, batch, StepInfo(0, 1))
    return float(loss), {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("micro_batch", [1, 3, 6])
def test_parts_give_the_loss_and_gradient_of_the_whole(micro_batch: int) -> None:
    loss, expected = gradients(network(norm=False), IMAGES)
    part_loss, found = gradients(network(norm=False), micro_batch)
    assert part_loss == pytest.approx(loss, rel=1e-12)
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)


def test_batch_norm_remembers_each_part_once() -> None:
    net = network(norm=True)
    gradients(net, 4)
    norm = batch_norm_of(net)
    mean = torch.zeros(8, dtype=torch.float64)
    with torch.no_grad():
        for first in range(0, IMAGES, 4):
            rows = torch.arange(first, first + 4)
            seen = views(torch.cat([rows, rows]), torch.cat([rows, rows + IMAGES]))
            mean = 0.9 * mean + 0.1 * net.encoder.backbone.get_submodule("0")(seen).mean(dim=(0, 2, 3))
    torch.testing.assert_close(norm.running_mean, mean)


def test_frozen_statistics_come_back() -> None:
    net = network(norm=True)
    norm = batch_norm_of(net)
    assert norm.running_mean is not None
    with frozen_statistics(net):
        net(pixels())
        assert torch.equal(norm.running_mean, torch.zeros(8, dtype=torch.float64))
    net(pixels())
    assert norm.momentum == 0.1
    assert norm.running_mean.abs().sum() > 0


def test_the_largest_part_that_fits_is_found() -> None:
    tried = []

    def runs(micro_batch: int) -> None:
        tried.append(micro_batch)
        if micro_batch > 20:
            raise torch.OutOfMemoryError

    assert largest_that_fits(runs, 120, ranks=1) == 20
    assert tried == [60, 40, 30, 24, 20]
    assert largest_that_fits(runs, 120, ranks=4) == 20
    assert largest_that_fits(runs, 46, ranks=23) is None
