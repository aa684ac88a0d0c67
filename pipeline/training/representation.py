"""Label-free metrics of the quality of a representation. Shape letters: N views, D dimensions."""

import math

import torch
from torch import Tensor

from pipeline.runtime.magnitude import unit_rows

SAMPLED_IMAGES = 512
"""Maximum number of sampled images. RankMe grows with the sample, so values compare only at equal size."""


def rankme(features_ND: Tensor) -> Tensor:
    """Returns RankMe: exp of the entropy of the singular values' shares.

    It lies between 1 (all features on a line) and min(N, D). See Garrido et al., arXiv 2210.02885, equation
    2.
    """
    # The eigenvalues of the smaller Gram matrix are the squared singular values, at a fraction of the cost.
    # In single precision, rounding would turn singular values of 0 into positive ones, and raise a rank of 2.
    features_ND = features_ND.double()
    tall_ND = features_ND if features_ND.shape[0] >= features_ND.shape[1] else features_ND.T
    squares_D = torch.linalg.eigvalsh(tall_ND.T @ tall_ND).clamp(min=0)
    values_D = squares_D.sqrt()
    tiny = torch.finfo(values_D.dtype).tiny
    shares_D = values_D / values_D.sum().clamp(min=tiny)
    entropy: Tensor = torch.special.entr(shares_D).sum()
    return entropy.exp().float()


def alignment(first_ND: Tensor, second_ND: Tensor) -> Tensor:
    """Returns alignment: the mean squared distance of two views of an image, on the unit sphere.

    See arXiv 2005.10242, section 4.1.
    """
    first_ND, second_ND = (unit_rows(views.float()) for views in (first_ND, second_ND))
    return (first_ND - second_ND).square().sum(dim=1).mean()


def uniformity(outputs_ND: Tensor) -> Tensor:
    """Returns uniformity: log of the mean over pairs of exp(-2 squared distance), on the unit sphere.

    0 means collapse. See arXiv 2005.10242, section 4.1.
    """
    unit_ND = unit_rows(outputs_ND.float())
    count = len(unit_ND)
    kernel_NN = torch.exp(4 * (unit_ND @ unit_ND.T - 1))
    pairs = (kernel_NN.sum() - kernel_NN.diagonal().sum()) / max(1, count * (count - 1))
    return pairs.clamp(min=torch.finfo(pairs.dtype).tiny).log()


def representation_metrics(
    features: tuple[Tensor, Tensor], outputs: tuple[Tensor, Tensor]
) -> dict[str, float]:
    """Returns `rankme` of both views' features, and `alignment` and `uniformity` of the head's outputs.

    `rankme` is NaN if features are not finite, since they have no singular values.
    """
    both_ND = torch.cat(features)
    return {
        "rankme": float(rankme(both_ND)) if both_ND.isfinite().all() else math.nan,
        "alignment": float(alignment(*outputs)),
        "uniformity": float(uniformity(outputs[0])),
    }
