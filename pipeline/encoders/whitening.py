"""Filters from whitened image patches, and the whitening of features.

They are computed in float64 on the CPU from normalised images, so that a seed gives the same filters on every
device. Shape letters: P patches of D numbers, K filters, N images, F pooled responses.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Generator, Tensor, nn

from pipeline.encoders.patches import WhitenedPatches

PATCHES = 20_000
PATCH_RIDGE = 0.1
"""Added to the variances of patches of unit contrast before whitening (Coates and Ng), so that noise is not
amplified."""
CONTRAST_RIDGE = 0.01
"""Added to the variance of a patch in the normalisation of its contrast."""
FEATURE_RIDGE = 1e-3
"""Added to the variances of pooled responses and features, as a share of the largest, since some may be 0."""

ROUNDING = 1e-12
"""Values with variances up to this share of their squared mean differ by rounding only."""
IMAGES_PER_FEATURE = 2
"""Number of images per feature from which features are whitened: fewer determine too few of their directions
(docs/log.md)."""
FEATURE_POWER = 0.375
"""Features are divided by their variances to this power; 0.5 would whiten them entirely, which amplifies the
weakest directions and lowers linear probes on few images (docs/log.md)."""

Batches = Callable[[], Iterable[Tensor]]
"""Normalised images (N, 3, S, S), float32 on the CPU, in the same batches at each call."""


def fit(layer: WhitenedPatches, batches: Batches, images: int, seed: int) -> None:
    """Sets all weights of `layer` from `batches`, which hold `images` images in total."""
    generator = torch.Generator().manual_seed(seed)
    size, each = layer.patches.kernel_size[0], -(-PATCHES // images)
    assert layer.patches.bias is not None
    with torch.no_grad():
        patches_PD = torch.cat([_patches_of(batch, size, each, generator) for batch in batches()])
        filters_KD, bias_K = whitened_filters(patches_PD, layer.patches.out_channels, generator)
        layer.patches.weight.copy_(filters_KD.view_as(layer.patches.weight))
        layer.patches.bias.copy_(bias_K)
        pooled_NF = torch.cat([layer.pooled(batch) for batch in batches()])
        weight_KF, bias_K = whitening(pooled_NF, layer.summary.out_features)
        layer.summary.weight.copy_(weight_KF)
        layer.summary.bias.copy_(bias_K)


def fit_features(layer: nn.Linear, features_NF: Tensor) -> None:
    """Sets `layer`, until now the identity, to a partial ZCA whitening of the features, if they have at least
    `IMAGES_PER_FEATURE` images per feature.

    Unlike principal components, ZCA is a smooth function of the features, so rounding does not rotate it.
    """
    images, features = features_NF.shape
    if images < IMAGES_PER_FEATURE * features:
        return
    with torch.no_grad():
        weight_FF, bias_F = whitening(features_NF, features, FEATURE_POWER, symmetric=True)
        layer.weight.copy_(weight_FF)
        layer.bias.copy_(bias_F)


def _patches_of(images_NCSS: Tensor, size: int, each: int, generator: Generator) -> Tensor:
    """Returns `each` square patches of each image at random places: (N * each, C * size * size)."""
    squares_NCYXhw = images_NCSS.unfold(2, size, 1).unfold(3, size, 1)
    count, _, rows, columns = squares_NCYXhw.shape[:4]
    image_P = torch.arange(count).repeat_interleave(each)
    row_P = torch.randint(rows, (len(image_P),), generator=generator)
    column_P = torch.randint(columns, (len(image_P),), generator=generator)
    return squares_NCYXhw[image_P, :, row_P, column_P].flatten(1)


def whitened_filters(patches_PD: Tensor, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Returns `count` patches, drawn and ZCA-whitened, as filters (K, D) and biases (K,) of a convolution."""
    patches_PD = patches_PD.double()
    variance_P, mean_P = torch.var_mean(patches_PD, dim=1, keepdim=True)
    contrast_PD = (patches_PD - mean_P) / (variance_P + CONTRAST_RIDGE).sqrt()
    mean_D = contrast_PD.mean(dim=0)
    centred_PD = contrast_PD - mean_D
    values_D, vectors_DD = torch.linalg.eigh(centred_PD.T @ centred_PD / len(centred_PD))
    whitening_DD = vectors_DD * (values_D.clamp_min(0) + PATCH_RIDGE).rsqrt() @ vectors_DD.T
    drawn_K = torch.randperm(len(centred_PD), generator=generator)[:count]
    directions_KD = torch.nn.functional.normalize(centred_PD[drawn_K] @ whitening_DD, dim=1)
    filters_KD = directions_KD @ whitening_DD
    # Filters ignore the mean of the pixels.
    return filters_KD - filters_KD.mean(dim=1, keepdim=True), -(filters_KD @ mean_D)


def whitening(
    values_NF: Tensor, directions: int, power: float = 0.5, *, symmetric: bool = False
) -> tuple[Tensor, Tensor]:
    """Returns the weight (K, F) and bias (K,) of a linear layer that whitens `values_NF`.

    The layer's outputs on `values_NF` have mean 0, no correlation, and variance 1 (v ** (1 - 2 `power`) where
    it was v). They are the principal components, strongest last; `symmetric` rotates them back (ZCA).
    Constant values keep their scale.
    """
    values_NF = values_NF.double()
    mean_F = values_NF.mean(dim=0)
    centred_NF = values_NF - mean_F
    variance_F, vectors_FF = torch.linalg.eigh(centred_NF.T @ centred_NF / len(centred_NF))
    variance_F = variance_F.clamp_min(0)
    if variance_F[-1] > ROUNDING * mean_F.square().max():
        scale_F = (variance_F + FEATURE_RIDGE * variance_F[-1]) ** -power
    else:
        scale_F = torch.ones_like(variance_F)
    weight_KF = (vectors_FF * scale_F).T[-directions:]
    if symmetric:
        weight_KF = vectors_FF[:, -directions:] @ weight_KF
    return weight_KF, -(weight_KF @ mean_F)
