"""What a batch offers to an objective, and what an objective owns and answers.

Shape letters: B images of this rank's share of a batch; N = 2B views, first all first views, then all second
ones in the same order; F features; D outputs; T outputs of the target network; A attributes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.config.pretrain import PretrainParams
from pipeline.runtime.distributed import Ranks


@dataclass(frozen=True)
class DataInfo:
    """What is known of the data before training."""

    clusters: int
    attributes: int
    """0 where the data has none, or the objective needs none."""


@dataclass(frozen=True)
class Batch:
    """What is known of a batch's images, on the device."""

    images_B: Tensor
    """int64, places in the train set."""
    clusters_B: Tensor
    """int64 cluster ids."""
    attributes_BA: Tensor | None = None
    """int8: 1 where the attribute holds, 0 where it does not, -1 where that is not known."""

    @property
    def images_N(self) -> Tensor:
        """Of each view."""
        return torch.cat([self.images_B, self.images_B])

    @property
    def clusters_N(self) -> Tensor:
        """Of each view."""
        return torch.cat([self.clusters_B, self.clusters_B])


@dataclass(frozen=True)
class StepInfo:
    """How far training is."""

    step: int
    """Steps done."""
    steps: int
    """Of the whole training."""

    @property
    def share(self) -> float:
        return self.step / self.steps


Embed = Callable[[], Tensor]
"""-> embeddings of the central views of all train images, normalised, (N images, D) float32: the target
network's where there is one, else the objective's own. Collective over ranks; the same on each."""


class Objective(nn.Module, ABC):
    """A loss with the heads above the encoder and all else that belongs to it.

    What is trained lies in `project`, which runs in parts and on several ranks; `loss` has no weights.
    Buffers and extra state are saved with the training. Nothing may wait for the device, `begin_epoch` apart.
    """

    beside_published: ClassVar[str]
    """How it differs from the published code, in sentences for docs/objectives.md and the model card."""

    projector: nn.Module
    """What the target network copies besides the encoder; it takes features."""

    @classmethod
    @abstractmethod
    def build(cls, feature_dim: int, params: PretrainParams, known: DataInfo) -> Self:
        """By what params.yaml says and the data are; weights from torch's global generator."""

    def target_momentum(self, step_info: StepInfo) -> float | None:
        """How much the target network keeps of itself before a step; None: there is no target network."""
        return None

    def project(self, features_NF: Tensor, attributes_NA: Tensor | None = None) -> Tensor:
        """What `loss` takes, (N, D), row by row but for batch norm."""
        outputs_ND: Tensor = self.projector(features_NF)
        return outputs_ND

    def embeddings_of(self, outputs_ND: Tensor) -> Tensor:
        """The part of `project`'s outputs in which images are compared and clusters remade."""
        return outputs_ND

    @abstractmethod
    def loss(self, outputs_ND: Tensor, targets_NT: Tensor | None, batch: Batch, ranks: Ranks) -> Tensor:
        """The loss of the global batch: a scalar, at least float32, the same on every rank.

        Its gradient on a rank is that by the rank's own `outputs_ND`.
        """

    def begin_epoch(self, epoch: int, embed: Embed, ranks: Ranks, seed: int) -> None:
        """Before the first step of `epoch`, counted from 0."""

    def begin_step(self, step_info: StepInfo) -> None:
        """Before the views of a step pass."""

    def end_step(self, targets_NT: Tensor | None, batch: Batch, ranks: Ranks) -> None:
        """After the loss of a step, without gradient."""


def at_least_float(values: Tensor) -> Tensor:
    """float32 in place of bfloat16 and float16; float64 stays."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def normalised(vectors: Tensor) -> Tensor:
    """To length 1 along the last dimension, at least float32; zeros stay."""
    return functional.normalize(at_least_float(vectors), dim=-1)


def mean_over_ranks(values: Tensor, ranks: Ranks) -> Tensor:
    """The mean of all ranks' `values`, of one shape, with the gradient by this rank's own."""
    return sum_over_ranks(values.sum() / (values.numel() * ranks.world_size), ranks)


def sum_over_ranks(own: Tensor, ranks: Ranks) -> Tensor:
    """The sum of what each rank has, the same on each to the bit, with the gradient by this rank's own."""
    return ranks.all_reduce_sum(own) + (own - own.detach())


def linear_head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Linear, ReLU, Linear: the head of Cl-InfoNCE as published."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, outputs))


def normed_head(inputs: int, hidden: int, outputs: int, layers: int = 2) -> nn.Sequential:
    """`layers` linear layers with batch norm and ReLU between them."""
    modules: list[nn.Module] = []
    for _ in range(layers - 1):
        modules += [nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
        inputs = hidden
    return nn.Sequential(*modules, nn.Linear(inputs, outputs))
