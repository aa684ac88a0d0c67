"""The network that is trained: an encoder, an objective on top, and a target network that follows both."""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.encoders.base import Encoder
from pipeline.objectives.base import Loss, StepInfo
from pipeline.runtime.distributed import Ranks
from pipeline.training.sync_batchnorm import synchronised

COMPILE_VARIABLE = "CLINFONCE_COMPILE"
"""Environment variable: 0 disables torch.compile on CUDA, 1 enables it on a CPU."""


class Network(nn.Module):
    """Encoder and objective, and a target network that follows them if the objective requires one."""

    def __init__(self, encoder: Encoder, objective: Loss) -> None:
        super().__init__()
        self.encoder = encoder
        self.objective = objective
        has_target = objective.target_momentum(StepInfo(0, 1)) is not None
        self.target = Target(encoder, objective.projector) if has_target else None

    def forward(self, images_NCSS: Tensor, attributes_NA: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns features (N, F), without gradient, and the objective's outputs (N, D)."""
        features_NF = self.encoder(images_NCSS)
        return features_NF.detach(), self.objective.project(features_NF, attributes_NA)

    def begin_step(self, step_info: StepInfo) -> None:
        self.objective.begin_step(step_info)
        momentum = self.objective.target_momentum(step_info)
        if self.target is not None and momentum is not None:
            self.target.follow(self.encoder, self.objective.projector, momentum)


class Target(nn.Module):
    """A copy of encoder and projector that follows them slowly and has no gradient."""

    def __init__(self, encoder: Encoder, projector: nn.Module) -> None:
        super().__init__()
        self.encoder, self.projector = copy.deepcopy(encoder), copy.deepcopy(projector)
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, images_NCSS: Tensor) -> tuple[Tensor, Tensor]:
        """Returns features (N, F) and projections (N, T)."""
        features_NF = self.encoder(images_NCSS)
        return features_NF, self.projector(features_NF)

    @torch.no_grad()
    def follow(self, encoder: Encoder, projector: nn.Module, momentum: float) -> None:
        own: list[Tensor] = [*self.encoder.parameters(), *self.projector.parameters()]
        followed: list[Tensor] = [*encoder.parameters(), *projector.parameters()]
        torch._foreach_lerp_(own, followed, 1 - momentum)


def over_ranks(network: Network, ranks: Ranks, device: torch.device) -> nn.Module:
    """Returns `network` compiled on CUDA, with its gradients averaged over the ranks."""
    called: nn.Module = synchronised(network, ranks, device)
    if os.environ.get(COMPILE_VARIABLE, "1" if device.type == "cuda" else "0") == "1":
        called = cast(nn.Module, torch.compile(called))
    if ranks.world_size > 1:
        # Buffers are equal on all ranks: batch norm and queues see the views of all ranks.
        ids = [device] if device.type == "cuda" else None
        called = DistributedDataParallel(called, device_ids=ids, broadcast_buffers=False)
    return called


@contextmanager
def frozen_statistics(network: nn.Module) -> Iterator[None]:
    """Keeps running statistics unchanged during the block; batch norms normalise by their batch."""
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
