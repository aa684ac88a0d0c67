"""Cl-InfoNCE: contrastive learning with clusters as positives (Tsai et al., arXiv 2106.02869, 2202.06670).

Loss and gradient are computed in parts of the matrix of logits, which is never held as a whole.

Shape letters: N views of all ranks, M of this one; P pairs of all ranks, Q of this one, R a part of these; D
dimensions.
"""

from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.base import Batch, DataInfo, GradientWithLoss, Objective, linear_head, normalised
from pipeline.objectives.tiled_logits import TILE_SIDE, TiledLogits, row_parts
from pipeline.runtime.distributed import ALONE, Ranks

Form = Literal["out", "in", "across", "pair"]


def cl_infonce_loss(
    embeddings_ND: Tensor,
    clusters_N: Tensor,
    temperature: float,
    form: Form = "out",
    *,
    ranks: Ranks = ALONE,
) -> Tensor:
    """Returns the mean over anchors of -log of how well each finds its cluster among the other views.

    embeddings_ND: any float type, normalised here; N counts views, so two views of a batch of B give 2B.
    clusters_N: integer cluster ids. Returns a scalar in nats, at least float32.

    In `out` and `in` each view is an anchor. Its positives are all other views of its cluster, its own
    image's second view included; its denominator runs over all other views. With s = cosine / temperature:

    * `out` (SupCon's L_out, Khosla et al. 2020, equation 2; the form of the published Cl-InfoNCE): the mean
      over positives p of -log(exp s_p / sum_a exp s_a);
    * `in` (L_in, equation 3): -log(mean_p exp s_p / sum_a exp s_a).

    Anchors without a positive are left out of the mean; if there are no others, the loss is 0. Unique ids for
    each image give InfoNCE (NT-Xent); labels as ids give SupCon.

    The other forms compare two sides: the rows are x_1 ... x_n, y_1 ... y_n, and x is compared only with y.
    An odd number of rows raises ValueError.

    * `across` (the second head of Tsai et al.'s ImageNet-100 code): x_i and y_i are in the same cluster,
      whose id is read from the first half. Like `out`, but an x has only the y as candidates, and a y only
      the x; the loss is the mean over both. Unique ids give the symmetric InfoNCE of two modalities.
    * `pair` (arXiv 2202.06670, the population form): the caller draws both members of a pair from one
      cluster, so the ids are not used. The mean over pairs of -log(exp s(x_i, y_i) / sum_j exp s(x_i, y_j)).

    With several `ranks`, each passes the same number of its own rows; for two sides, its own x and then its
    own y. Value and gradient are those of one process with the rows of all ranks. There is no second
    derivative.
    """
    if form in ("across", "pair") and len(embeddings_ND) % 2:
        raise ValueError(f"the form `{form}` takes an even number of rows, not {len(embeddings_ND)}")
    # Autocast would compute the products in bfloat16, too coarse for logits of 1 / temperature.
    with torch.autocast(embeddings_ND.device.type, enabled=False):
        z_ND = normalised(embeddings_ND)
        loss: Tensor = _Loss.apply(z_ND * temperature**-0.5, clusters_N, form, ranks)
        return loss


class ClInfoNCE(Objective):
    """Cl-InfoNCE with the published head: SimCLR for unique clusters, SupCon for labels."""

    beside_published: ClassVar[str] = (
        "The published loss in form `out`, but for its factor temperature / 0.07, which scales the "
        "gradient alone."
    )

    def __init__(
        self, feature_dim: int, projection_dim: int, temperature: float, *, form: Form = "out"
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.form: Form = form
        self.projector = linear_head(feature_dim, feature_dim, projection_dim)

    @classmethod
    def build(cls, feature_dim: int, params: PretrainParams, _known: DataInfo) -> Self:
        return cls(feature_dim, params.projection_dim, params.temperature, form=params.form)

    def loss(self, outputs_ND: Tensor, _targets: Tensor | None, batch: Batch, ranks: Ranks) -> Tensor:
        return cl_infonce_loss(outputs_ND, batch.clusters_N, self.temperature, self.form, ranks=ranks)


class _Loss(GradientWithLoss):
    """Computes the loss of vectors whose products are the logits."""

    @staticmethod
    def forward(context: Any, own_MD: Tensor, clusters_M: Tensor, form: Form, ranks: Ranks) -> Tensor:
        requested: bool = context.needs_input_grad[0]
        if form in ("across", "pair"):
            loss, gradient_MD = _two_sided_loss(own_MD, clusters_M, form, ranks, requested)
        else:
            loss, gradient_MD = _cluster_loss(own_MD, clusters_M, form, ranks, requested)
        context.save_for_backward(gradient_MD)
        return loss


def _cluster_loss(
    own_MD: Tensor, clusters_M: Tensor, form: Form, ranks: Ranks, gradient_wanted: bool
) -> tuple[Tensor, Tensor | None]:
    """Computes the forms `out` and `in`: the loss and, on request, its gradient with respect to own_MD.

    An anchor's loss is log sum_a exp s_a minus the mean of s_p (`out`) or log mean_p exp s_p (`in`).
    """
    all_ND, clusters_N = ranks.all_gather(own_MD), ranks.all_gather(clusters_M).contiguous()
    own = ranks.share(len(all_ND))
    first_N, positives_N = _places(clusters_N)
    counted_N = positives_N > 0
    anchors = counted_N.sum().clamp(min=1)
    divisor_M = positives_N[own].clamp(min=1).to(all_ND.dtype)

    logits = TiledLogits(all_ND, clusters_N, own, with_positives=form == "in")
    log_sums = [log_sum_N[own] for log_sum_N in logits.log_sums()]
    # Relative to their mean, close vectors keep their precision where attraction and repulsion nearly cancel.
    mean_D = all_ND.mean(dim=0)
    offsets_ND = all_ND - mean_D
    if form == "out":
        sums_ND = torch.zeros_like(all_ND).index_add_(0, first_N, offsets_ND)
        positive_MD = (sums_ND[first_N[own]] - offsets_ND[own]) / divisor_M[:, None]
        log_positive_M = (all_ND[own] * (mean_D + positive_MD)).sum(dim=1)
    else:
        log_positive_M = log_sums[1] - divisor_M.log()
    losses_M = torch.where(counted_N[own], log_sums[0] - log_positive_M, 0.0)
    loss = ranks.all_reduce_sum(losses_M.sum()) / anchors
    if not gradient_wanted:
        return loss, None

    # An infinite log-sum removes an anchor without positives from its softmax.
    log_sums = [ranks.all_gather(log_sum_M).where(counted_N, torch.inf) for log_sum_M in log_sums]
    pull_ND, weight_N = logits.weighted_sums(log_sums, offsets_ND)
    pull_MD, weight_M = pull_ND[own], weight_N[own]
    if form == "out":
        # Every positive pair is counted by both of its members.
        pull_MD -= 2 * positive_MD
        weight_M -= 2 * counted_N[own]
    return loss, (pull_MD + weight_M[:, None] * mean_D) / anchors


def _two_sided_loss(
    own_MD: Tensor, clusters_M: Tensor, form: Form, ranks: Ranks, gradient_wanted: bool
) -> tuple[Tensor, Tensor | None]:
    """Computes the forms `across` and `pair`: the loss and, on request, its gradient with respect to own_MD.

    An anchor's loss is log sum_j exp s_j, over the other side, minus its product with the mean of its
    positives there. A row of logits is one softmax, so whole rows need one pass where tiles would need two.
    """
    halves = ranks.all_gather(own_MD).unflatten(0, (ranks.world_size, 2, len(own_MD) // 2))
    sides_2PD = halves.transpose(0, 1).flatten(1, 2)
    pairs = sides_2PD.shape[1]
    own = ranks.share(pairs)
    # Relative to their mean, close vectors keep their precision where attraction and repulsion nearly cancel.
    means_21D = sides_2PD.mean(dim=1, keepdim=True)
    offsets_2PD = sides_2PD - means_21D
    if form == "pair":
        directions, positive_2PD = [(0, 1)], offsets_2PD
    else:
        clusters_P = ranks.all_gather(clusters_M[: len(own_MD) // 2])
        directions, positive_2PD = [(0, 1), (1, 0)], _cluster_means(offsets_2PD, clusters_P)

    total = sides_2PD.new_zeros(())
    pull_2PD, weight_2P = torch.zeros_like(sides_2PD), torch.zeros_like(sides_2PD[:, :, 0])
    for anchors, candidates in directions:
        for rows in row_parts(own.start, own.stop, TILE_SIDE[own_MD.device.type]):
            anchors_RD = sides_2PD[anchors, rows]
            logits_RP = anchors_RD @ sides_2PD[candidates].T
            highest_R1 = logits_RP.amax(dim=1, keepdim=True)
            shares_RP = logits_RP.sub_(highest_R1).exp_()
            sum_R1 = shares_RP.sum(dim=1, keepdim=True)
            log_sum_R = (highest_R1 + sum_R1.log()).squeeze(dim=1)
            positive_RD = means_21D[candidates] + positive_2PD[candidates, rows]
            total += (log_sum_R - (anchors_RD * positive_RD).sum(dim=1)).sum()
            if gradient_wanted:
                shares_RP.div_(sum_R1)
                pull_2PD[anchors, rows] += shares_RP @ offsets_2PD[candidates]
                pull_2PD[candidates].addmm_(shares_RP.T, offsets_2PD[anchors, rows])
                # An anchor's shares and those of its positives both sum to 1 and cancel; a candidate's need
                # not.
                weight_2P[candidates] += shares_RP.sum(dim=0)
                weight_2P[candidates, rows] -= 1
    terms = len(directions) * pairs
    loss = ranks.all_reduce_sum(total) / terms
    if not gradient_wanted:
        return loss, None
    pull_2QD, weight_2Q = ranks.all_reduce_sum(pull_2PD)[:, own], ranks.all_reduce_sum(weight_2P)[:, own]
    pull_2QD -= len(directions) * positive_2PD.flip(0)[:, own]
    return loss, (pull_2QD + weight_2Q[:, :, None] * means_21D.flip(0)).flatten(0, 1) / terms


def _cluster_means(sides_2PD: Tensor, clusters_P: Tensor) -> Tensor:
    """Returns, for each row, the mean of its side's rows of the same cluster, itself included: (2, P, D)."""
    first_P, others_P = _places(clusters_P.contiguous())
    sums_2PD = torch.zeros_like(sides_2PD).index_add_(1, first_P, sides_2PD)
    return sums_2PD[:, first_P] / (others_P + 1)[:, None]


def _places(clusters_N: Tensor) -> tuple[Tensor, Tensor]:
    """Returns, for each view, a number below N that is unique to its cluster, and its number of positives.

    `unique` would number the clusters too, but the host would wait for their number.
    """
    sorted_N = clusters_N.sort().values
    first_N = torch.searchsorted(sorted_N, clusters_N)
    return first_N, torch.searchsorted(sorted_N, clusters_N, right=True) - first_N - 1
