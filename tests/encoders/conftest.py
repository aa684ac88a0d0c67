"""The weights of a small network."""

import pytest
import timm
import torch

from encoders.fitted_weights import State


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(3)
    return dict(timm.create_model("resnet10t", num_classes=3).state_dict())
