"""ICCL: similarity first, then clustering, with dimensions as clusters (Ge et al., arXiv 2301.03041).

Shape letters: N views of this rank, first all first ones, then all second ones; D dimensions, which are the
clusters; R ranks.
"""

import math
from typing import ClassVar, Self

import torch
from torch import Tensor

from pipeline.config.objectives import IcclParams
from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.base import Batch, DataInfo, StepInfo, mean_over_ranks, normalised
from pipeline.objectives.byol import BYOL, byol_loss, of_other_views
from pipeline.runtime.distributed import ALONE, Ranks


def clustering_loss(
    predictions_ND: Tensor,
    targets_ND: Tensor,
    online_temperature: float,
    target_temperature: float,
    uniformity: float,
    *,
    ranks: Ranks = ALONE,
) -> Tensor:
    """Returns uniformity * L_u + L_ce of arXiv 2301.03041, in nats.

    For vectors of length 1, n = softmax(prediction / online_temperature) and m = softmax(target /
    target_temperature). L_ce is the mean over images of -1/2 (<m_1, log n_2> + <m_2, log n_1>); for L_u see
    `uniformity_loss`. predictions_ND, targets_ND: any float type, normalised here; targets without gradient.
    Returns a scalar, at least float32. With several `ranks`, each passes the same number of its own views;
    the loss is that of all.
    """
    with torch.autocast(predictions_ND.device.type, enabled=False):
        log_n_ND = (normalised(predictions_ND) / online_temperature).log_softmax(dim=1)
        m_ND = (normalised(targets_ND) / target_temperature).softmax(dim=1)
        losses_N = -(of_other_views(m_ND) * log_n_ND).sum(dim=1)
        return mean_over_ranks(losses_N, ranks) + uniformity * uniformity_loss(log_n_ND, ranks=ranks)


def uniformity_loss(log_n_ND: Tensor, *, ranks: Ranks = ALONE) -> Tensor:
    """Returns KL(uniform || the mean of n over the views of all ranks): how unevenly the clusters are used.

    The mean is taken before the logarithm, so it must be that of all ranks, and with gradient: with each
    rank's own mean, or a sum without gradient, the term's weight would depend on the number of ranks.
    """
    own_1D = log_n_ND.logsumexp(dim=0, keepdim=True)
    # The sums stay logarithms, as a cluster that no view is near would give log 0 at a low temperature.
    others_RD = ranks.all_gather(own_1D)
    sums_RD = torch.cat([others_RD[: ranks.rank], own_1D, others_RD[ranks.rank + 1 :]])
    log_mean_D = sums_RD.logsumexp(dim=0) - math.log(len(log_n_ND) * ranks.world_size)
    return -log_mean_D.mean() - math.log(len(log_mean_D))


def scheduled_weight(share: float, start: float, end: float) -> float:
    """Returns clustering's weight after a `share` of training: 0 before `start`, linear, 1 from `end` on."""
    if share < start:
        return 0.0
    if share >= end:
        return 1.0
    return (share - start) / (end - start)


class ICCL(BYOL):
    """Weights clustering by s and BYOL's loss by 1 - s; s grows from 0 to 1 in training, or is constant.

    Heads, target network and the scale of similarity are BYOL's. `projection_dim` is the number of clusters:
    512 in the paper, whose projector has one more layer on ImageNet.
    """

    beside_published: ClassVar[str] = (
        "The published loss; projector and predictor are narrower by default, and the projector has a "
        "layer less than on ImageNet."
    )

    def __init__(self, feature_dim: int, projection_dim: int, params: IcclParams) -> None:
        super().__init__(feature_dim, projection_dim, params.hidden, params.momentum)
        self.params = params
        self.begin_step(StepInfo(0, 1))

    @classmethod
    def build(cls, feature_dim: int, params: PretrainParams, _known: DataInfo) -> Self:
        return cls(feature_dim, params.projection_dim, params.iccl)

    def begin_step(self, step_info: StepInfo) -> None:
        constant = self.params.constant
        scheduled = scheduled_weight(step_info.share, self.params.start, self.params.end)
        self.clustering_weight = scheduled if constant is None else constant

    def loss(self, outputs_ND: Tensor, targets_NT: Tensor | None, _batch: Batch, ranks: Ranks) -> Tensor:
        assert targets_NT is not None
        predictions_ND, _ = outputs_ND.chunk(2, dim=1)
        similarity = byol_loss(predictions_ND, targets_NT, ranks=ranks)
        if self.clustering_weight == 0:
            return similarity
        clustering = clustering_loss(
            predictions_ND,
            targets_NT,
            self.params.online_temperature,
            self.params.target_temperature,
            self.params.uniformity,
            ranks=ranks,
        )
        return self.clustering_weight * clustering + (1 - self.clustering_weight) * similarity
