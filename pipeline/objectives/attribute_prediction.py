"""Binary cross-entropy on each attribute, one of the papers' baselines (arXiv 2106.02869)."""

from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.base import Batch, DataInfo, Objective, at_least_float, sum_over_ranks
from pipeline.runtime.distributed import Ranks


class AttributePrediction(Objective):
    """Predicts whether each attribute holds, by a linear layer on the encoder."""

    beside_published: ClassVar[str] = (
        "The published loss, of both views of an image; attributes that are not known are left out of the "
        "mean."
    )

    def __init__(self, feature_dim: int, attributes: int) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.projector = nn.Linear(feature_dim, attributes)

    @classmethod
    def build(cls, feature_dim: int, _params: PretrainParams, known: DataInfo) -> Self:
        return cls(feature_dim, known.attributes)

    def project(self, features_NF: Tensor, _attributes: Tensor | None = None) -> Tensor:
        """Returns (N, F + A): the features, in which images are compared, and the logits."""
        return torch.cat([features_NF, self.projector(features_NF)], dim=1)

    def embeddings_of(self, outputs_ND: Tensor) -> Tensor:
        return outputs_ND[:, : self.feature_dim]

    def loss(self, outputs_ND: Tensor, _targets: Tensor | None, batch: Batch, ranks: Ranks) -> Tensor:
        """Returns the mean over views and their known attributes, in nats; 0 if none is known."""
        attributes_BA = batch.attributes_BA
        assert attributes_BA is not None, "`TRAITS` says that it learns from attributes"
        attributes_NA = torch.cat([attributes_BA, attributes_BA])
        with torch.autocast(outputs_ND.device.type, enabled=False):
            logits_NA = at_least_float(outputs_ND[:, self.feature_dim :])
            known_NA = (attributes_NA >= 0).to(logits_NA.dtype)
            losses_NA = functional.binary_cross_entropy_with_logits(
                logits_NA, attributes_NA.clamp(min=0).to(logits_NA.dtype), known_NA, reduction="none"
            )
            # Ranks may know different numbers of attributes, so their means must not be averaged.
            return sum_over_ranks(losses_NA.sum() / ranks.all_reduce_sum(known_NA.sum()).clamp(min=1), ranks)
