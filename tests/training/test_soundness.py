"""What may be saved, trained on and handed over."""

import math

import pytest
import torch
from torch import nn

from pipeline.training.soundness import LARGEST_WEIGHT, fault_of, is_finite

SOUND = torch.tensor(1.0)


def network(weight: float = 1.0, remembered: float = 1.0) -> nn.Module:
    linear, norm = nn.Linear(2, 3), nn.BatchNorm1d(3)
    linear.weight.data[1, 1] = weight
    assert norm.running_var is not None
    norm.running_var[2] = remembered
    return nn.Sequential(linear, norm)


@pytest.mark.parametrize(
    ("found", "loss", "fault"),
    [
        (network(), SOUND, None),
        (network(weight=-LARGEST_WEIGHT), SOUND, None),
        (network(remembered=1e12), SOUND, None),
        (network(), torch.tensor(math.nan), "the loss was not finite"),
        (network(weight=math.nan), torch.tensor(math.inf), "the loss was not finite"),
        (network(weight=-math.inf), SOUND, "weights were not finite"),
        (network(remembered=math.nan), SOUND, "weights were not finite"),
        (network(weight=-2.4e16), SOUND, "weights had grown to 2e+16"),
    ],
)
def test_faults_are_named(found: nn.Module, loss: torch.Tensor, fault: str | None) -> None:
    assert fault_of(found, loss) == fault


def test_a_network_without_weights_is_sound() -> None:
    assert is_finite(nn.ReLU())
