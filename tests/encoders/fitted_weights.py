"""Weights in a file, as they arrive in an encoder."""

from pathlib import Path

import torch
from torch import Tensor

from pipeline.encoders.base import Architecture, Encoder
from pipeline.encoders.given_weights import fit_weights
from pipeline.encoders.registry import build_plain_encoder
from pipeline.encoders.weights_files import read_weights_file

NAME = "timm/resnet10t"
State = dict[str, Tensor]


def drawn(name: str = NAME, size: int = 32) -> Encoder:
    stride = None if name.startswith("timm/") else 4
    return build_plain_encoder(Architecture(name, stride, size))


def fitted(path: Path, name: str = NAME, size: int = 32) -> tuple[State, list[str]]:
    encoder = drawn(name, size)
    given = read_weights_file(path)
    return dict(encoder.backbone.state_dict()), given.notes + fit_weights(encoder, name, given.tensors)


def assert_holds(found: State, state: State) -> None:
    assert found
    for key, value in found.items():
        torch.testing.assert_close(value, state[key].to(value.dtype))
