"""The same trainings in one process and in several."""

import os
from collections.abc import Mapping
from functools import partial
from unittest.mock import patch

import torch
from safetensors.torch import load_file

from pipeline.config.pretrain import PretrainParams
from pipeline.encoders.base import Encoder
from pipeline.runtime.distributed import Ranks
from pipeline.storage.schema import Layout
from pipeline.training import run as training
from pipeline.training import setup as build
from pipeline.training.context import TrainingContext
from pipeline.training.network import Network

Weights = dict[str, torch.Tensor]


def train_each(
    ranks: Ranks, layout: Layout, ways: Mapping[str, PretrainParams], image_size: int
) -> dict[str, Weights]:
    """Every way, in this process's place; the weights that the first rank wrote.

    In float64, since batch norm of such tiny images blows up the rounding of float32.
    """
    variables = {
        "CLINFONCE_STATE_DIR": str(layout.root / "states"),
        "CLINFONCE_LOADER": "sharded" if ranks.world_size > 1 else "resident",
    }
    forward = Encoder.forward
    found = {}
    with (
        patch.dict(os.environ, variables),
        patch.object(Encoder, "forward", lambda encoder, images: forward(encoder, images.double())),
        patch.object(build, "Network", lambda encoder, objective: Network(encoder, objective).double()),
    ):
        for way, params in ways.items():
            context = TrainingContext("chosen", 0, image_size, torch.device("cpu"), ranks)
            training.train(params, context, layout)
            if ranks.is_main:
                found[way] = load_file(layout.encoder("chosen") / "encoder.safetensors")
    return found


def assert_equal_weights(together: Mapping[str, Weights], alone: Mapping[str, Weights]) -> None:
    for way, weights in alone.items():
        for name, value in weights.items():
            torch.testing.assert_close(
                together[way][name], value, rtol=1e-6, atol=1e-6, msg=partial("{} {}: {}".format, way, name)
            )
