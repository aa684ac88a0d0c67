"""Cross-entropy on cluster ids: clusters as classes, one of the papers' baselines (arXiv 2106.02869)."""

from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.base import Batch, DataInfo, Objective, at_least_float, mean_over_ranks
from pipeline.runtime.distributed import Ranks


class CrossEntropy(Objective):
    """Predicts the cluster of each view, by a linear layer on the encoder."""

    beside_published: ClassVar[str] = (
        "The published loss, of both views of an image, where the published baseline shows one."
    )

    def __init__(self, feature_dim: int, clusters: int) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.projector = nn.Linear(feature_dim, clusters)

    @classmethod
    def build(cls, feature_dim: int, _params: PretrainParams, known: DataInfo) -> Self:
        return cls(feature_dim, known.clusters)

    def project(self, features_NF: Tensor, _attributes: Tensor | None = None) -> Tensor:
        """Returns (N, F + clusters): the features, in which images are compared, and the logits."""
        return torch.cat([features_NF, self.projector(features_NF)], dim=1)

    def embeddings_of(self, outputs_ND: Tensor) -> Tensor:
        return outputs_ND[:, : self.feature_dim]

    def loss(self, outputs_ND: Tensor, _targets: Tensor | None, batch: Batch, ranks: Ranks) -> Tensor:
        """Returns the mean over views of -log softmax(logits) at the view's cluster, in nats."""
        with torch.autocast(outputs_ND.device.type, enabled=False):
            logits_NK = at_least_float(outputs_ND[:, self.feature_dim :])
            losses_N = functional.cross_entropy(logits_NK, batch.clusters_N, reduction="none")
            return mean_over_ranks(losses_N, ranks)
