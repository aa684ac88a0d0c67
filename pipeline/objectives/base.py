"""The interface of objectives, and the data about a batch that they receive.

Shape letters: B images of this rank's share of a batch; N = 2B views, first all first views, then all second
ones in the same order; F features; D outputs; T outputs of the target network; A attributes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from pipeline.config.pretrain import PretrainParams
from pipeline.runtime.distributed import Ranks


@dataclass(frozen=True)
class DataInfo:
    """Properties of the data that are known before training."""

    clusters: int
    attributes: int
    """0 if the data has none, or the objective needs none."""


@dataclass(frozen=True)
class Batch:
    """Data about the images of a batch, on the device."""

    images_B: Tensor
    """int64 positions in the train set."""
    clusters_B: Tensor
    """int64 cluster ids."""
    attributes_BA: Tensor | None = None
    """As `pipeline.training.attribute_inputs` encodes them for the objective; by default int8: 1 if the
    attribute holds, 0 if it does not, -1 if that is unknown."""

    @property
    def images_N(self) -> Tensor:
        """For each of the N views."""
        return torch.cat([self.images_B, self.images_B])

    @property
    def clusters_N(self) -> Tensor:
        """For each of the N views."""
        return torch.cat([self.clusters_B, self.clusters_B])


@dataclass(frozen=True)
class StepInfo:
    """The progress of training."""

    step: int
    """Number of steps done."""
    steps: int
    """Number of steps of the whole training."""

    @property
    def share(self) -> float:
        return self.step / self.steps


Embed = Callable[[], Tensor]
"""Function that returns the normalised embeddings of the central views of all train images, (N images, D)
float32. They are the target network's if there is one, else the objective's own. Collective over ranks; the
result is the same on each."""


class Loss(nn.Module, ABC):
    """A loss, with the heads on top of the encoder and everything else that belongs to it.

    Trained weights are used only in `project`, which runs in parts and on several ranks; `loss` has no
    weights. Buffers and extra state are saved with the training. Nothing may wait for the device, except
    `begin_epoch`.
    """

    projector: nn.Module
    """The module that the target network copies besides the encoder; it takes features."""

    def target_momentum(self, step_info: StepInfo) -> float | None:
        """Returns the target network's momentum before a step; None if there is no target network."""
        return None

    def project(self, features_NF: Tensor, attributes_NA: Tensor | None = None) -> Tensor:
        """Returns the input of `loss`, (N, D); apart from batch norm, rows do not depend on each other."""
        outputs_ND: Tensor = self.projector(features_NF)
        return outputs_ND

    def embeddings_of(self, outputs_ND: Tensor) -> Tensor:
        """Returns the part of `project`'s outputs by which images are compared and clusters recomputed."""
        return outputs_ND

    @abstractmethod
    def loss(self, outputs_ND: Tensor, targets_NT: Tensor | None, batch: Batch, ranks: Ranks) -> Tensor:
        """Returns the loss of the global batch: a scalar, at least float32, the same on every rank.

        Its gradient on a rank is that with respect to the rank's own `outputs_ND`.
        """

    def begin_epoch(self, epoch: int, embed: Embed, ranks: Ranks, seed: int) -> None:
        """Called before the first step of `epoch`, counted from 0."""

    def begin_step(self, step_info: StepInfo) -> None:
        """Called before the forward pass of a step."""

    def end_step(self, targets_NT: Tensor | None, batch: Batch, ranks: Ranks) -> None:
        """Called after the loss of a step, without gradient."""


class Objective(Loss):
    """A loss that `pretrain.objective` names."""

    beside_published: ClassVar[str]
    """Differences from the published code, in sentences for docs/objectives.md and the model card."""

    @classmethod
    @abstractmethod
    def build(cls, feature_dim: int, params: PretrainParams, known: DataInfo) -> Self:
        """Builds the objective for the parameters and data; weights are drawn by torch's global generator."""


class GradientWithLoss(Function):
    """A loss whose `forward` computes its gradient with respect to its first input, and saves it.

    So the backward pass neither recomputes logits nor waits for other ranks.
    """

    @staticmethod
    @once_differentiable
    def backward(context: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = context.saved_tensors
        return gradient * scale, *(None for _ in context.needs_input_grad[1:])


def at_least_float(values: Tensor) -> Tensor:
    """Casts bfloat16 and float16 to float32; float64 stays."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def normalised(vectors: Tensor) -> Tensor:
    """Scales vectors to length 1 along the last dimension, at least float32; zeros stay."""
    return functional.normalize(at_least_float(vectors), dim=-1)


def mean_over_ranks(values: Tensor, ranks: Ranks) -> Tensor:
    """Returns the mean of all ranks' `values`, which have the same shape.

    Its gradient is that with respect to this rank's own values.
    """
    return sum_over_ranks(values.sum() / (values.numel() * ranks.world_size), ranks)


def sum_over_ranks(own: Tensor, ranks: Ranks) -> Tensor:
    """Returns the sum of all ranks' values, the same on each to the bit.

    Its gradient is that with respect to this rank's own value.
    """
    return ranks.all_reduce_sum(own) + (own - own.detach())


def linear_head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Builds the published head of Cl-InfoNCE: linear, ReLU, linear."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, outputs))


def normed_head(inputs: int, hidden: int, outputs: int, layers: int = 2) -> nn.Sequential:
    """Builds a head of `layers` linear layers with batch norm and ReLU between them."""
    modules: list[nn.Module] = []
    for _ in range(layers - 1):
        modules += [nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
        inputs = hidden
    return nn.Sequential(*modules, nn.Linear(inputs, outputs))
