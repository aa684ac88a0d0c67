"""MoCo: a view identifies the target network's key of its other view among the keys of earlier steps.

He et al., arXiv 1911.05722; version 2, arXiv 2003.04297. Here earlier keys of the same cluster are positives
too, as in SupCon (arXiv 2004.11362). Shape letters: B images of this rank, N = 2B views of it; Q keys in the
queue; D dimensions of a key.
"""

from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.base import (
    Batch,
    DataInfo,
    Objective,
    StepInfo,
    linear_head,
    mean_over_ranks,
    normalised,
)
from pipeline.objectives.byol import of_other_views
from pipeline.objectives.queue import Queue
from pipeline.runtime.distributed import Ranks


class MoCo(Objective):
    """Both views are queries; each is compared with the key of its other view and with the queue.

    As published, the keys of the batch's other images are not candidates; version 3 (arXiv 2104.02057), which
    has no queue, uses them. The keys of both views enter the queue, as in the published code for symmetric
    losses. The queue starts empty instead of filled with noise, with which a short training would compare its
    images for much of its time; the first step has no negatives and changes nothing. Since batch norm sees
    the views of all ranks, keys need not be shuffled.
    """

    beside_published: ClassVar[str] = (
        "The published loss, averaged over both views as queries. The queue begins empty, not filled with "
        "noise; earlier keys of a view's cluster, those of its own image among them, are positives and "
        "not negatives."
    )

    def __init__(
        self, feature_dim: int, projection_dim: int, temperature: float, *, queue: int, momentum: float
    ) -> None:
        super().__init__()
        self.temperature, self.momentum = temperature, momentum
        self.projector = linear_head(feature_dim, feature_dim, projection_dim)
        self.queue = Queue(queue, projection_dim)

    @classmethod
    def build(cls, feature_dim: int, params: PretrainParams, _known: DataInfo) -> Self:
        return cls(
            feature_dim,
            params.projection_dim,
            params.temperature,
            queue=params.moco.queue,
            momentum=params.moco.momentum,
        )

    def target_momentum(self, _step_info: StepInfo) -> float | None:
        """Returns m of equation 2."""
        return self.momentum

    def loss(self, outputs_ND: Tensor, targets_NT: Tensor | None, batch: Batch, ranks: Ranks) -> Tensor:
        """Returns the mean of `contrast` over all views."""
        assert targets_NT is not None
        # Autocast would compute the products in bfloat16, too coarse for logits of 1 / temperature.
        with torch.autocast(outputs_ND.device.type, enabled=False):
            losses_N = self._losses_N(normalised(outputs_ND), normalised(targets_NT.detach()), batch)
            return mean_over_ranks(losses_N, ranks)

    def end_step(self, targets_NT: Tensor | None, batch: Batch, ranks: Ranks) -> None:
        assert targets_NT is not None
        # In the order of one process: all images' first views, then all second ones.
        keys_2GD = (
            ranks.all_gather(normalised(targets_NT)).unflatten(0, (ranks.world_size, 2, -1)).transpose(0, 1)
        )
        self.queue.put(keys_2GD.flatten(0, 2), ranks.all_gather(self._ids_B(batch)).repeat(2))

    def _ids_B(self, batch: Batch) -> Tensor:
        """Returns the ids by which views and keys are positives of each other."""
        return batch.clusters_B

    def _losses_N(self, queries_ND: Tensor, keys_ND: Tensor, batch: Batch) -> Tensor:
        """Returns the loss of each of this rank's views; queries and the views' own keys are normalised."""
        ids_N = self._ids_B(batch).repeat(2)
        queue_QD = self.queue.rows.to(keys_ND.dtype)
        return contrast(
            queries_ND, of_other_views(keys_ND), ids_N, queue_QD, self.queue.ids, self.temperature
        )


def contrast(
    queries_ND: Tensor, keys_ND: Tensor, ids_N: Tensor, queue_QD: Tensor, ids_Q: Tensor, temperature: float
) -> Tensor:
    """Returns, for each query, the mean over its positives p of -log(exp s_p / sum_c exp s_c): (N,).

    s = cosine / temperature, and all vectors are normalised. The candidates c are the query's own key and the
    queue; its positives are its own key and the keys of the queue with its id. If there are none of the
    latter, this is InfoNCE (arXiv 1911.05722, equation 1), otherwise SupCon's L_out (arXiv 2004.11362,
    equation 2).
    """
    own_N1 = (queries_ND * keys_ND).sum(dim=1, keepdim=True)
    logits_NC = torch.cat([own_N1, queries_ND @ queue_QD.T], dim=1) / temperature
    positive_NC = functional.pad(ids_N[:, None] == ids_Q, (1, 0), value=True).to(logits_NC.dtype)
    shares_NC = positive_NC / positive_NC.sum(dim=1, keepdim=True)
    return functional.cross_entropy(logits_NC, shares_NC, reduction="none")
