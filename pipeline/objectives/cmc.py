"""CMC (arXiv 1906.05849) of images and their attributes, one of the papers' baselines (arXiv 2106.02869)."""

from typing import ClassVar, Self

import torch
from torch import Tensor

from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.base import Batch, DataInfo, Objective, linear_head
from pipeline.objectives.cl_infonce import cl_infonce_loss
from pipeline.runtime.distributed import Ranks


class CMC(Objective):
    """Contrasts a view with its image's attributes among those of the batch, and the reverse.

    Each of the two views is compared with the attributes separately. The published code takes its negatives
    from a memory of all images' embeddings, here they are the batch's; it adds the losses of the two
    directions, here they are averaged, so that the loss is a mean over anchors like that of Cl-InfoNCE.
    """

    beside_published: ClassVar[str] = (
        "The published contrast of two modalities. The negatives are the batch's, where the published "
        "code draws them from a memory of all images; the losses of the two directions are averaged, "
        "where it adds them."
    )

    def __init__(
        self, feature_dim: int, projection_dim: int, attributes: int, hidden: int, temperature: float
    ) -> None:
        super().__init__()
        self.temperature, self.projection_dim = temperature, projection_dim
        self.projector = linear_head(feature_dim, feature_dim, projection_dim)
        self.attribute_projector = linear_head(attributes, hidden, projection_dim)

    @classmethod
    def build(cls, feature_dim: int, params: PretrainParams, known: DataInfo) -> Self:
        return cls(
            feature_dim, params.projection_dim, known.attributes, params.cmc.hidden, params.temperature
        )

    def project(self, features_NF: Tensor, attributes_NA: Tensor | None = None) -> Tensor:
        """Returns embeddings of views and attributes, (N, 2D); without attributes those of views, (N, D)."""
        views_ND: Tensor = self.projector(features_NF)
        if attributes_NA is None:
            return views_ND
        # 1 if the attribute holds, -1 if it does not, 0 if that is unknown.
        signs_NA = torch.where(attributes_NA == 0, -1, attributes_NA.clamp(min=0)).to(features_NF.dtype)
        return torch.cat([views_ND, self.attribute_projector(signs_NA)], dim=1)

    def embeddings_of(self, outputs_ND: Tensor) -> Tensor:
        return outputs_ND[:, : self.projection_dim]

    def loss(self, outputs_ND: Tensor, _targets: Tensor | None, batch: Batch, ranks: Ranks) -> Tensor:
        """Returns the mean over both views of the symmetric InfoNCE of view and attributes, in nats.

        Attributes are not compared with attributes, where equal ones would be the closest negatives.
        """
        # B views, followed by the attributes of their images.
        pairs = (torch.cat(view_BD.split(self.projection_dim, dim=1)) for view_BD in outputs_ND.chunk(2))
        losses = [
            cl_infonce_loss(pair_ND, batch.images_N, self.temperature, "across", ranks=ranks)
            for pair_ND in pairs
        ]
        return torch.stack(losses).mean()
