"""BYOL: each view predicts the target network's projection of the other (Grill et al., arXiv 2006.07733).

Shape letters: N views of this rank, first all first ones, then all second ones; F features; D dimensions.
"""

import math
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.base import (
    Batch,
    DataInfo,
    Objective,
    StepInfo,
    mean_over_ranks,
    normalised,
    normed_head,
)
from pipeline.runtime.distributed import ALONE, Ranks


def byol_loss(predictions_ND: Tensor, targets_ND: Tensor, *, ranks: Ranks = ALONE) -> Tensor:
    """Returns the mean over images of |p_1 - t_2|^2 + |p_2 - t_1|^2, all of length 1: 4 - 2 cos - 2 cos.

    This is equation 2 of arXiv 2006.07733 in both directions, summed as there, so that it lies between 0 and
    8. predictions_ND, targets_ND: any float type, normalised here; targets without gradient. Returns a
    scalar, at least float32. With several `ranks`, each passes the same number of its own views; the loss is
    that of all.
    """
    with torch.autocast(predictions_ND.device.type, enabled=False):
        distances_N = distances_of_views(normalised(predictions_ND), normalised(targets_ND))
        return 2 * mean_over_ranks(distances_N, ranks)


def distances_of_views(predictions_ND: Tensor, targets_ND: Tensor) -> Tensor:
    """Returns the squared distance of each view's prediction to the other view's target, (N,).

    Computed as 2 - 2 cos, it and its gradient would lose precision for accurate predictions.
    """
    return (predictions_ND - of_other_views(targets_ND)).square().sum(dim=1)


def of_other_views(rows_ND: Tensor) -> Tensor:
    """Returns, for each view, the row of its image's other view."""
    return rows_ND.roll(len(rows_ND) // 2, dims=0)


class Siamese(Objective):
    """Base class of objectives that predict the projection of the other view from that of a view.

    Outputs are predictions and projections side by side, (N, 2D). Only predictions carry a gradient, which
    reaches all weights through them; projections are detached.
    """

    def __init__(self, projector: nn.Module, predictor: nn.Module) -> None:
        super().__init__()
        self.projector, self.predictor = projector, predictor

    def project(self, features_NF: Tensor, _attributes: Tensor | None = None) -> Tensor:
        projections_ND = self.projector(features_NF)
        return torch.cat([self.predictor(projections_ND), projections_ND.detach()], dim=1)

    def embeddings_of(self, outputs_ND: Tensor) -> Tensor:
        return outputs_ND.chunk(2, dim=1)[1]


class BYOL(Siamese):
    """BYOL with the published heads, as wide as params.yaml says (4,096 and 256 in the paper)."""

    beside_published: ClassVar[str] = "The published loss; projector and predictor are narrower by default."

    def __init__(self, feature_dim: int, projection_dim: int, hidden: int, momentum: float) -> None:
        super().__init__(
            normed_head(feature_dim, hidden, projection_dim),
            normed_head(projection_dim, hidden, projection_dim),
        )
        self.momentum = momentum

    @classmethod
    def build(cls, feature_dim: int, params: PretrainParams, _known: DataInfo) -> Self:
        return cls(feature_dim, params.projection_dim, params.byol.hidden, params.byol.momentum)

    def target_momentum(self, step_info: StepInfo) -> float:
        """Returns a momentum that rises from `momentum` to 1 along a cosine (section 3.3 of the paper)."""
        return 1 - (1 - self.momentum) * (math.cos(math.pi * step_info.share) + 1) / 2

    def loss(self, outputs_ND: Tensor, targets_NT: Tensor | None, _batch: Batch, ranks: Ranks) -> Tensor:
        assert targets_NT is not None
        predictions_ND, _ = outputs_ND.chunk(2, dim=1)
        return byol_loss(predictions_ND, targets_NT, ranks=ranks)
