"""SwAV: a view predicts the other's code, its assignment to prototypes (Caron et al., arXiv 2006.09882).

Shape letters: B images of this rank, N = 2B views of it; G images of all ranks; D dimensions of an embedding,
P = 2D of both views' side by side; K prototypes; M rows that are assigned together.
"""

from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.config.objectives import SwavParams
from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.base import (
    Batch,
    DataInfo,
    Objective,
    StepInfo,
    at_least_float,
    mean_over_ranks,
    normalised,
    normed_head,
)
from pipeline.objectives.queue import Queue
from pipeline.runtime.distributed import Ranks


class SwAV(Objective):
    """SwAV with two views and no smaller crops. Scores are the cosines of embeddings and prototypes."""

    beside_published: ClassVar[str] = (
        "The published loss, of two views without smaller crops. The queue is filled from the first step "
        "on, where the published code fills it from the epoch on that uses it."
    )

    def __init__(self, feature_dim: int, projection_dim: int, temperature: float, params: SwavParams) -> None:
        super().__init__()
        self.temperature, self.params = temperature, params
        self.projector = normed_head(feature_dim, feature_dim, projection_dim)
        # Of length 1, as in the published code: the longer they are, the less a step rotates them.
        prototypes_KD = torch.randn(params.prototypes, projection_dim)
        self.prototypes_KD = nn.Parameter(functional.normalize(prototypes_KD, dim=1))
        # An image's two views are queued together, so one queue holds both sides.
        self.queue = Queue(params.queue, 2 * projection_dim)
        self._frozen = self._queue_due = False
        self._seen_GP: Tensor | None = None
        """Embeddings that are added to the queue at the end of the step."""

    @classmethod
    def build(cls, feature_dim: int, params: PretrainParams, _known: DataInfo) -> Self:
        return cls(feature_dim, params.projection_dim, params.temperature, params.swav)

    def project(self, features_NF: Tensor, _attributes: Tensor | None = None) -> Tensor:
        """Returns embeddings of length 1, followed by their scores: (N, D + K), at least float32."""
        outputs_ND: Tensor = self.projector(features_NF)
        # Autocast would compute the products in bfloat16, too coarse for scores that are divided by epsilon.
        with torch.autocast(outputs_ND.device.type, enabled=False):
            z_ND = normalised(outputs_ND)
            return torch.cat([z_ND, z_ND @ self._directions_KD().T], dim=1)

    def embeddings_of(self, outputs_ND: Tensor) -> Tensor:
        return outputs_ND[:, : self.prototypes_KD.shape[1]]

    def loss(self, outputs_ND: Tensor, _targets: Tensor | None, _batch: Batch, ranks: Ranks) -> Tensor:
        """Computes equations 1 and 2, halved as in the published code; codes have no gradient.

        -1/2 mean over images of <code of view 2, log p of view 1> + <code of view 1, log p of view 2>, with p
        = softmax(scores / temperature).
        """
        with torch.autocast(outputs_ND.device.type, enabled=False):
            outputs_ND = at_least_float(outputs_ND)
            scores_NK = outputs_ND[:, self.prototypes_KD.shape[1] :]
            log_p_NK = (scores_NK / self.temperature).log_softmax(dim=1)
            codes_NK = self._swapped_codes(self.embeddings_of(outputs_ND), ranks)
            return mean_over_ranks(-(codes_NK * log_p_NK).sum(dim=1), ranks)

    def begin_step(self, step_info: StepInfo) -> None:
        self._frozen = step_info.share < self.params.frozen_fraction
        self._queue_due = step_info.share >= self.params.queue_from

    def end_step(self, _targets: Tensor | None, batch: Batch, ranks: Ranks) -> None:
        seen_GP, self._seen_GP = self._seen_GP, None
        if seen_GP is not None:
            self.queue.put(seen_GP, ranks.all_gather(batch.images_B))

    def _directions_KD(self) -> Tensor:
        """Returns the prototypes at length 1; the published code normalises them in place, before each step.

        Frozen ones have the gradient 0 rather than none, since ranks wait for the gradient of each weight.
        Weight decay then changes only their lengths, which have no effect.
        """
        prototypes_KD: Tensor = self.prototypes_KD
        if self._frozen:
            prototypes_KD = prototypes_KD.detach() + 0 * prototypes_KD
        return functional.normalize(prototypes_KD, dim=1)

    @torch.no_grad()
    def _swapped_codes(self, z_ND: Tensor, ranks: Ranks) -> Tensor:
        """Returns, for each view of this rank, the code of its image's other view, (N, K).

        Each rank computes all codes, since ranks exchange embeddings, which are shorter than scores.
        """
        pairs_GP = ranks.all_gather(torch.cat(z_ND.chunk(2), dim=1))
        assigned_MP = pairs_GP
        if self.queue.length:
            self._seen_GP = pairs_GP
            if self._queue_due and len(self.queue) == self.queue.length:
                assigned_MP = torch.cat([self.queue.rows.to(pairs_GP.dtype), pairs_GP])
        directions_DK = self._directions_KD().T
        codes_of_sides = []
        for z_MD in assigned_MP.chunk(2, dim=1):
            codes_MK = sinkhorn_codes(z_MD @ directions_DK, self.params.epsilon, self.params.iterations)
            codes_of_sides.append(codes_MK[-len(pairs_GP) :][ranks.share(len(pairs_GP))])
        first_BK, second_BK = codes_of_sides
        return torch.cat([second_BK, first_BK])


@torch.no_grad()
def sinkhorn_codes(scores_MK: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Returns each row's shares of the prototypes, with all prototypes used equally by all rows: (M, K).

    Equations 3 to 5 of arXiv 2006.09882, by the Sinkhorn-Knopp algorithm: `iterations` times, the columns of
    exp(scores / epsilon) are scaled to equal sums, then its rows to the sum 1. Rows sum to 1, columns to M /
    K in the limit.
    """
    # As logarithms, since exp(scores / epsilon) exceeds float32 for a small epsilon.
    log_codes_MK = scores_MK / epsilon
    for _ in range(iterations):
        log_codes_MK = log_codes_MK.log_softmax(dim=0).log_softmax(dim=1)
    return log_codes_MK.exp()
