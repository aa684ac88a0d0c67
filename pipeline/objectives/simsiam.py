"""SimSiam: each view predicts the detached projection of the other (Chen & He, arXiv 2011.10566).

Shape letters: N views of this rank, first all first ones, then all second ones; D dimensions.
"""

from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.base import Batch, DataInfo, mean_over_ranks, normalised, normed_head
from pipeline.objectives.byol import Siamese, of_other_views
from pipeline.runtime.distributed import ALONE, Ranks


def simsiam_loss(predictions_ND: Tensor, projections_ND: Tensor, *, ranks: Ranks = ALONE) -> Tensor:
    """Returns the mean over images of -1/2 (cos(p_1, z_2) + cos(p_2, z_1)), without gradient for z.

    This is equation 4 of arXiv 2011.10566. Both tensors: any float type, normalised here. Returns a scalar
    between -1 and 1, at least float32. With several `ranks`, each passes the same number of its own views;
    the loss is that of all.
    """
    with torch.autocast(predictions_ND.device.type, enabled=False):
        others_ND = of_other_views(normalised(projections_ND.detach()))
        cosines_N = (normalised(predictions_ND) * others_ND).sum(dim=1)
        return -mean_over_ranks(cosines_N, ranks)


class SimSiam(Siamese):
    """SimSiam with a projector that ends with batch norm, and a predictor with a bottleneck.

    The published code omits scale and shift in that last batch norm, and the paper does not mention them:
    here it has both, as batch norm over ranks expects. In the paper the bottleneck is 512 wide, a quarter of
    the 2,048 outputs.
    """

    beside_published: ClassVar[str] = (
        "The published loss; the projector's last batch norm has a scale and a shift, as batch norm over "
        "several processes expects them."
    )

    def __init__(self, feature_dim: int, projection_dim: int, hidden: int) -> None:
        projector = normed_head(feature_dim, feature_dim, projection_dim, layers=3)
        # Batch norm would cancel the bias.
        projector[-1].register_parameter("bias", None)
        projector.append(nn.BatchNorm1d(projection_dim))
        super().__init__(projector, normed_head(projection_dim, hidden, projection_dim))

    @classmethod
    def build(cls, feature_dim: int, params: PretrainParams, _known: DataInfo) -> Self:
        return cls(feature_dim, params.projection_dim, params.simsiam.hidden)

    def loss(self, outputs_ND: Tensor, _targets: Tensor | None, _batch: Batch, ranks: Ranks) -> Tensor:
        predictions_ND, projections_ND = outputs_ND.chunk(2, dim=1)
        return simsiam_loss(predictions_ND, projections_ND, ranks=ranks)
