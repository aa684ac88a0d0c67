"""What is trained: the encoder, and the objective's head above it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.encoders import Encoder
from pipeline.objectives.cl_infonce import ClInfoNCE
from pipeline.ranks import Ranks
from pipeline.training.batchnorm import synchronised

COMPILE_VARIABLE = "CLINFONCE_COMPILE"
"""0 keeps torch.compile out of a training on CUDA; 1 asks for it on a CPU."""


class Network(nn.Module):
    """Images (N, 3, S, S) -> features (N, F), without gradient, and head outputs (N, D)."""

    def __init__(self, encoder: Encoder, objective: ClInfoNCE) -> None:
        super().__init__()
        self.encoder = encoder
        self.objective = objective

    def forward(self, images_NCSS: Tensor) -> tuple[Tensor, Tensor]:
        features_NF = self.encoder(images_NCSS)
        return features_NF.detach(), self.objective.project(features_NF)


def over_ranks(network: Network, ranks: Ranks, device: torch.device) -> nn.Module:
    """`network` as the training step calls it: compiled on CUDA, its gradients averaged over the ranks."""
    called: nn.Module = synchronised(network, ranks, device)
    if os.environ.get(COMPILE_VARIABLE, "1" if device.type == "cuda" else "0") == "1":
        called = cast(nn.Module, torch.compile(called))
    if ranks.count > 1:
        called = DistributedDataParallel(called, device_ids=[device] if device.type == "cuda" else None)
    return called


@contextmanager
def frozen_statistics(network: nn.Module) -> Iterator[None]:
    """Batch norms normalise by their batch, and remember nothing of it."""
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
