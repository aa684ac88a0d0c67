"""InfoNCE and Cl-InfoNCE on one encoder, with a head for each (Tsai et al.'s ImageNet-100 code)."""

from typing import ClassVar, Self

import torch
from torch import Tensor

from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.base import Batch, DataInfo, Objective, normed_head
from pipeline.objectives.cl_infonce import cl_infonce_loss
from pipeline.runtime.distributed import Ranks


class DualHead(Objective):
    """One head discriminates images, the other pulls clusters together; both losses have equal weight.

    As in the published code, the first head compares each view with all others, the second only first views
    with second ones. Clusters are recomputed from the embeddings of the first head, which does not use them.
    """

    beside_published: ClassVar[str] = (
        "The published loss. Both heads learn from the first epoch, where the published code begins with "
        "epochs of the first head alone; several processes have the gradient of one, where it leaves out "
        "that of the others' views."
    )

    def __init__(self, feature_dim: int, projection_dim: int, hidden: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.projector = normed_head(feature_dim, hidden, projection_dim, layers=3)
        self.cluster_projector = normed_head(feature_dim, hidden, projection_dim, layers=3)

    @classmethod
    def build(cls, feature_dim: int, params: PretrainParams, _known: DataInfo) -> Self:
        return cls(feature_dim, params.projection_dim, params.dual_head.hidden, params.temperature)

    def project(self, features_NF: Tensor, _attributes: Tensor | None = None) -> Tensor:
        """Returns the outputs of both heads side by side, (N, 2D)."""
        return torch.cat([self.projector(features_NF), self.cluster_projector(features_NF)], dim=1)

    def embeddings_of(self, outputs_ND: Tensor) -> Tensor:
        return outputs_ND.chunk(2, dim=1)[0]

    def loss(self, outputs_ND: Tensor, _targets: Tensor | None, batch: Batch, ranks: Ranks) -> Tensor:
        by_image_ND, by_cluster_ND = outputs_ND.chunk(2, dim=1)
        told_apart = cl_infonce_loss(by_image_ND, batch.images_N, self.temperature, ranks=ranks)
        brought_together = cl_infonce_loss(
            by_cluster_ND, batch.clusters_N, self.temperature, "across", ranks=ranks
        )
        return told_apart + brought_together
