"""Contrastive learning whose positives count by the values that they share with the anchor.

Shape letters: N views of all ranks, M of this one, R a part of these; D dimensions; A values.
"""

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.base import Batch, DataInfo, GradientWithLoss, Objective, linear_head, normalised
from pipeline.objectives.tiled_logits import TILE_SIDE, row_parts
from pipeline.runtime.distributed import ALONE, Ranks


def soft_infonce_loss(
    embeddings_MD: Tensor,
    images_M: Tensor,
    values_MA: Tensor,
    temperature: float,
    *,
    ranks: Ranks = ALONE,
) -> Tensor:
    """Returns the mean over anchors of -sum_p w_p log(exp s_p / sum_a exp s_a), in nats.

    s is cosine / temperature, over all other views a. The weight w_p of a positive is the overlap of its
    values with the anchor's, those that both have over those that one of them has (Jaccard's index), and 1
    for the other view of the anchor's image; an anchor's weights are divided by their sum. With values of
    which each image has exactly one, it is Cl-InfoNCE in form `out`.

    embeddings_MD: any float type, normalised here; images_M: the image of each view; values_MA: above 0 if
    the view's image has the value. With several `ranks`, each passes its own rows, as many as the others;
    value and gradient are those of one process with all rows. There is no second derivative.
    """
    with torch.autocast(embeddings_MD.device.type, enabled=False):
        z_MD = normalised(embeddings_MD) * temperature**-0.5
        has_MA = (values_MA > 0).to(z_MD.dtype)
        loss: Tensor = _Loss.apply(z_MD, images_M, has_MA, ranks)
        return loss


class Soft(Objective):
    """Cl-InfoNCE in which images that share some of their attributes and hashtags are positives in part."""

    beside_published: ClassVar[str] = (
        "Not published in this form. It is Cl-InfoNCE in form `out` with weighted positives, and equals it "
        "where each image has one value."
    )

    def __init__(self, feature_dim: int, projection_dim: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.projector = linear_head(feature_dim, feature_dim, projection_dim)

    @classmethod
    def build(cls, feature_dim: int, params: PretrainParams, _known: DataInfo) -> Self:
        return cls(feature_dim, params.projection_dim, params.temperature)

    def loss(self, outputs_ND: Tensor, _targets: Tensor | None, batch: Batch, ranks: Ranks) -> Tensor:
        values_BA = batch.attributes_BA
        assert values_BA is not None, "`TRAITS` says that it learns from attributes"
        values_NA = torch.cat([values_BA, values_BA])
        return soft_infonce_loss(outputs_ND, batch.images_N, values_NA, self.temperature, ranks=ranks)


class _Loss(GradientWithLoss):
    """Computes the loss of vectors whose products are the logits."""

    @staticmethod
    def forward(context: Any, own_MD: Tensor, images_M: Tensor, has_MA: Tensor, ranks: Ranks) -> Tensor:
        all_ND, images_N, has_NA = map(ranks.all_gather, (own_MD, images_M, has_MA))
        own = ranks.share(len(all_ND))
        parts = row_parts(own.start, own.stop, TILE_SIDE[own_MD.device.type])

        def logits_and_weights(rows: slice) -> tuple[Tensor, Tensor]:
            """Returns the products and the overlaps of these rows with all, (R, N)."""
            logits_RN, weights_RN = all_ND[rows] @ all_ND.T, _overlaps(has_NA[rows], has_NA)
            weights_RN.masked_fill_(images_N[rows, None] == images_N, 1.0)
            logits_RN.diagonal(rows.start).fill_(-torch.inf)
            weights_RN.diagonal(rows.start).zero_()
            return logits_RN, weights_RN

        log_sums, totals, losses = [], [], []
        for rows in parts:
            logits_RN, weights_RN = logits_and_weights(rows)
            log_sums.append(logits_RN.logsumexp(dim=1))
            totals.append(weights_RN.sum(dim=1))
            logits_RN.diagonal(rows.start).zero_()
            losses.append(log_sums[-1] - (weights_RN * logits_RN).sum(dim=1) / totals[-1])
        loss: Tensor = ranks.all_reduce_sum(torch.cat(losses).sum()) / len(all_ND)
        if not context.needs_input_grad[0]:
            return loss

        log_sum_N, total_N = (ranks.all_gather(torch.cat(values)) for values in (log_sums, totals))
        # Relative to their mean, close vectors keep their precision where attraction and repulsion cancel.
        mean_D = all_ND.mean(dim=0)
        offsets_ND = all_ND - mean_D
        gradients = []
        for rows in parts:
            logits_RN, weights_RN = logits_and_weights(rows)
            # As anchor and as candidate of every other view.
            pull_RN = (logits_RN - log_sum_N[rows, None]).exp_().add_((logits_RN - log_sum_N).exp_())
            pull_RN -= weights_RN * (1 / total_N[rows, None] + 1 / total_N)
            gradients.append(pull_RN @ offsets_ND + pull_RN.sum(dim=1, keepdim=True) * mean_D)
        context.save_for_backward(torch.cat(gradients) / len(all_ND))
        return loss


def _overlaps(some_RA: Tensor, all_NA: Tensor) -> Tensor:
    """Returns Jaccard's index of each pair of sets, (R, N); 0 for two empty ones."""
    shared_RN = some_RA @ all_NA.T
    united_RN = some_RA.sum(dim=1, keepdim=True) + all_NA.sum(dim=1) - shared_RN
    return shared_RN / united_RN.clamp(min=1)
