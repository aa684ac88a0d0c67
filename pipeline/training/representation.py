"""Label-free signs of whether a representation is alive. Shape letters: N views, D dimensions."""

import math

import torch
from torch import Tensor

from pipeline.runtime.magnitude import unit_rows

SAMPLED_IMAGES = 512
"""RankMe grows with the sample, so that figures compare only at one size."""


def rankme(features_ND: Tensor) -> Tensor:
    """exp of the entropy of the singular values' shares (Garrido et al., arXiv 2210.02885, equation 2).

    Between 1 (all features on a line) and min(N, D).
    """
    # Eigenvalues of the smaller Gram matrix are the squared singular values, at a fraction of the cost. In
    # single precision those that are 0 would come out as roots of its rounding, and rank 2 as more.
    features_ND = features_ND.double()
    tall_ND = features_ND if features_ND.shape[0] >= features_ND.shape[1] else features_ND.T
    squares_D = torch.linalg.eigvalsh(tall_ND.T @ tall_ND).clamp(min=0)
    values_D = squares_D.sqrt()
    tiny = torch.finfo(values_D.dtype).tiny
    shares_D = values_D / values_D.sum().clamp(min=tiny)
    entropy: Tensor = torch.special.entr(shares_D).sum()
    return entropy.exp().float()


def alignment(first_ND: Tensor, second_ND: Tensor) -> Tensor:
    """Mean squared distance of two views of one image, on the unit sphere (arXiv 2005.10242, section 4.1)."""
    first_ND, second_ND = (unit_rows(views.float()) for views in (first_ND, second_ND))
    return (first_ND - second_ND).square().sum(dim=1).mean()


def uniformity(outputs_ND: Tensor) -> Tensor:
    """log of the mean over pairs of exp(-2 squared distance), on the unit sphere (ibid.): 0 is collapse."""
    unit_ND = unit_rows(outputs_ND.float())
    count = len(unit_ND)
    kernel_NN = torch.exp(4 * (unit_ND @ unit_ND.T - 1))
    pairs = (kernel_NN.sum() - kernel_NN.diagonal().sum()) / max(1, count * (count - 1))
    return pairs.clamp(min=torch.finfo(pairs.dtype).tiny).log()


def representation_metrics(
    features: tuple[Tensor, Tensor], outputs: tuple[Tensor, Tensor]
) -> dict[str, float]:
    """`rankme` of the features of both views; `alignment` and `uniformity` of the head's outputs.

    NaN where features are not finite, of which no singular value is known.
    """
    both_ND = torch.cat(features)
    return {
        "rankme": float(rankme(both_ND)) if both_ND.isfinite().all() else math.nan,
        "alignment": float(alignment(*outputs)),
        "uniformity": float(uniformity(outputs[0])),
    }
