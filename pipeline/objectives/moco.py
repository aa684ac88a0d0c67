"""MoCo: views find their images among keys of a slow target network, those of earlier steps included.

He et al., arXiv 1911.05722; version 2, arXiv 2003.04297. Here keys of the same cluster are positives too, as
in SupCon (arXiv 2004.11362). Shape letters: B images of this rank, N = 2B views of it; G images of all ranks;
C candidates that a query is compared with; D dimensions of a key.
"""

from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.objectives.base import Batch, Known, Moment, Objective, linear_head, mean_over_ranks, normalised
from pipeline.objectives.queue import Queue
from pipeline.ranks import Ranks
from pipeline.training.params import PretrainParams


class MoCo(Objective):
    """Both views are queries, each among the target network's keys of the other views and the queue.

    The keys of both views enter the queue, as in the published code for symmetric losses. It starts empty
    and not filled with noise. As batch norm sees the views of all ranks, keys need not be shuffled.
    """

    def __init__(
        self, feature_dim: int, projection_dim: int, temperature: float, *, queue: int, momentum: float
    ) -> None:
        super().__init__()
        self.temperature, self.momentum = temperature, momentum
        self.projector = linear_head(feature_dim, feature_dim, projection_dim)
        self.queue = Queue(queue, projection_dim)

    @classmethod
    def build(cls, feature_dim: int, params: PretrainParams, _known: Known) -> Self:
        return cls(
            feature_dim,
            params.projection_dim,
            params.temperature,
            queue=params.moco.queue,
            momentum=params.moco.momentum,
        )

    def target_momentum(self, _moment: Moment) -> float | None:
        """Equation 2's m."""
        return self.momentum

    def loss(self, outputs_ND: Tensor, targets_NT: Tensor | None, batch: Batch, ranks: Ranks) -> Tensor:
        """The mean over all views of `contrast`: of first among second and of second among first views."""
        assert targets_NT is not None
        # Autocast would compute the products in bfloat16, too coarse for logits of 1 / temperature.
        with torch.autocast(outputs_ND.device.type, enabled=False):
            losses_N = self._losses_N(normalised(outputs_ND), targets_NT, batch, ranks)
            return mean_over_ranks(losses_N, ranks)

    def end_step(self, targets_NT: Tensor | None, batch: Batch, ranks: Ranks) -> None:
        assert targets_NT is not None
        if self.queue.length:
            keys_2GD, ids_G = self._keys(targets_NT, batch, ranks)
            self.queue.put(keys_2GD.flatten(0, 1), ids_G.repeat(2))

    def _ids_B(self, batch: Batch) -> Tensor:
        """Views and keys of one id belong together."""
        return batch.clusters_B

    def _losses_N(self, queries_ND: Tensor, targets_NT: Tensor, batch: Batch, ranks: Ranks) -> Tensor:
        """Of each of this rank's views; queries are normalised."""
        keys_2GD, ids_G = self._keys(targets_NT, batch, ranks)
        ids_C = torch.cat([ids_G, self.queue.ids])
        losses = []
        for queries_BD, keys_GD in zip(queries_ND.chunk(2), keys_2GD.flip(0), strict=True):
            candidates_CD = torch.cat([keys_GD, self.queue.rows.to(keys_GD.dtype)])
            losses.append(contrast(queries_BD, self._ids_B(batch), candidates_CD, ids_C, self.temperature))
        return torch.cat(losses)

    def _keys(self, targets_NT: Tensor, batch: Batch, ranks: Ranks) -> tuple[Tensor, Tensor]:
        """Of all ranks' images the normalised keys, of first and of second views, and the ids."""
        targets_2GT = ranks.gathered(targets_NT).unflatten(0, (ranks.count, 2, -1)).transpose(0, 1)
        return normalised(targets_2GT.flatten(1, 2)), ranks.gathered(self._ids_B(batch))


def contrast(
    queries_ND: Tensor, ids_N: Tensor, candidates_CD: Tensor, ids_C: Tensor, temperature: float
) -> Tensor:
    """Of each query the mean over its positives p of -log(exp s_p / sum_c exp s_c), s = cosine / temperature.

    SupCon's L_out (arXiv 2004.11362, equation 2); with one positive InfoNCE (arXiv 1911.05722, equation 1).
    Both sides are normalised. Positives are the candidates with the query's id; each query has one.
    Returns (N,).
    """
    logits_NC = queries_ND @ candidates_CD.T / temperature
    positive_NC = (ids_N[:, None] == ids_C).to(logits_NC.dtype)
    shares_NC = positive_NC / positive_NC.sum(dim=1, keepdim=True)
    return functional.cross_entropy(logits_NC, shares_NC, reduction="none")
