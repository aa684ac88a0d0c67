"""Cl-InfoNCE with a head for each column, so that columns are not joined into ever smaller clusters."""

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.base import Batch, DataInfo, Objective, linear_head
from pipeline.objectives.cl_infonce import cl_infonce_loss
from pipeline.runtime.distributed import Ranks


class SideBySide(nn.ModuleList):
    """Concatenates the outputs of several heads for the same features."""

    def forward(self, features_NF: Tensor) -> Tensor:
        return torch.cat([head(features_NF) for head in self], dim=1)


class MultiHead(Objective):
    """Each head pulls images together that have the same value in its column.

    An image whose value is not known is a cluster of its own in that column, as in SimCLR.
    """

    beside_published: ClassVar[str] = (
        "Not published. Each head has the published loss of Cl-InfoNCE in form `out`, and the weights of the "
        "columns sum to 1."
    )

    def __init__(
        self, feature_dim: int, projection_dim: int, temperature: float, weights: Sequence[float]
    ) -> None:
        super().__init__()
        self.temperature, self.projection_dim = temperature, projection_dim
        self.weights = [weight / sum(weights) for weight in weights]
        heads = [linear_head(feature_dim, feature_dim, projection_dim) for _ in weights]
        self.projector = SideBySide(heads)

    @classmethod
    def build(cls, feature_dim: int, params: PretrainParams, known: DataInfo) -> Self:
        weights = params.multi_head.weights or [1.0] * known.attributes
        return cls(feature_dim, params.projection_dim, params.temperature, weights)

    def loss(self, outputs_ND: Tensor, _targets: Tensor | None, batch: Batch, ranks: Ranks) -> Tensor:
        """Returns the weighted mean of the heads' losses, in nats."""
        codes_BC = batch.attributes_BA
        assert codes_BC is not None, "`TRAITS` says that it learns from attributes"
        # Below all codes, and different for each image.
        alone_B = -1 - batch.images_B
        losses = []
        for weight, head_ND, codes_B in zip(
            self.weights, outputs_ND.split(self.projection_dim, dim=1), codes_BC.unbind(1), strict=True
        ):
            clusters_B = torch.where(codes_B < 0, alone_B, codes_B.long())
            clusters_N = torch.cat([clusters_B, clusters_B])
            losses.append(weight * cl_infonce_loss(head_ND, clusters_N, self.temperature, ranks=ranks))
        return torch.stack(losses).sum()
