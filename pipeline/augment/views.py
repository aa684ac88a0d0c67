"""Random and central views.

Shape letters: N images, C = 3 channels, H x W canvas, S pixels per side of a view, T tries, G global batch.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.augment.color import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    blur,
    solarize,
)
from pipeline.augment.normalize import Normalizer
from pipeline.augment.resample import KERNELS, Change, resample, resample_as_pillow
from pipeline.config.pretrain import AugmentParams

ASPECT_RATIOS = (3 / 4, 4 / 3)
CROP_TRIES = 10
ENCODED_PIXELS = 2**25
"""Maximum number of pixels of the views that pass through an encoder together without a gradient: 512 views
of 256 x 256 pixels."""


def random_views(
    canvas_NCHW: Tensor,
    sizes_N2: Tensor,
    size: int,
    params: AugmentParams,
    seed: int,
    *,
    rows_N: Tensor | None = None,
    of: int | None = None,
    normalize: Normalizer | None = None,
) -> Tensor:
    """Returns one random view per image: (N, 3, size, size) float32, 0-1 or, with `normalize`, normalised.

    `canvas_NCHW` is uint8 with each image at the top left, `sizes_N2` its height and width. All randomness
    follows from `seed`; everything is computed on the tensors' device, without waiting for it.

    If the images are part of a global batch of `of`, `rows_N` (int64) are their places in it, and the views
    are those rows of the whole batch's views: to the bit on a CPU, while other devices may round the mean of
    an image differently. Without both, the images are the whole batch.
    """
    assert (rows_N is None) == (of is None), "a part of a batch needs its places and the batch's length"
    generator = torch.Generator(canvas_NCHW.device).manual_seed(seed)
    draws = Draws(generator, len(canvas_NCHW) if of is None else of, rows_N)
    boxes_N4 = random_crop_boxes(sizes_N2, params.crop_scale_min, draws)
    flipped_N = draws.happens(params.flip_probability)
    # The order of the four colour changes is drawn once per call, on the host, which needs no device value.
    order = random.Random(seed).sample(range(4), 4)  # noqa: S311 - not for secrets
    drawn = [*_color_jitter(params, order, draws), *_grayscale_blur_solarize(params, draws)]
    changes = [(change, amounts_N[:, None, None, None]) for change, amounts_N in drawn]
    return resample(canvas_NCHW, boxes_N4, size, flipped_N, changes, normalize)


@dataclass(frozen=True)
class CentralCrop:
    """How evaluation scales and crops the largest central square of an image."""

    interpolation: str = "bilinear"
    """Key of `resample.KERNELS`."""
    crop_pct: float = 1.0
    """Side of the crop as a share of the square's, as timm calls it."""

    def scaled_side(self, size: int) -> int:
        """Returns the side to which a square is scaled for a crop of `size` pixels."""
        return math.floor(size / self.crop_pct)

    def offset(self, size: int) -> int:
        """Returns the first row and column of that crop."""
        return round((self.scaled_side(size) - size) / 2)


WHOLE_SQUARE = CentralCrop()


def central_views(
    canvas_NCHW: Tensor, sizes_N2: Tensor, size: int, crop: CentralCrop = WHOLE_SQUARE
) -> Tensor:
    """Returns the central square of each image at `size` pixels: (N, 3, size, size) float32, 0-1.

    Without `crop` it is the largest one, and pixels are not rounded; otherwise see `resample_as_pillow`.
    """
    side_N = sizes_N2.amin(dim=1)
    corners_N2 = (sizes_N2 - side_N[:, None]) // 2
    boxes_N4 = torch.cat([corners_N2, side_N[:, None], side_N[:, None]], dim=1)
    if crop == WHOLE_SQUARE:
        return resample(canvas_NCHW, boxes_N4, size)
    inner = slice(crop.offset(size), crop.offset(size) + size)
    kernel = KERNELS[crop.interpolation]
    return resample_as_pillow(canvas_NCHW, boxes_N4, crop.scaled_side(size), inner, kernel)


def views_at_once(size: int, most: int) -> int:
    """Returns how many views of `size` pixels pass through an encoder at one time without a gradient.

    It is a power of two if `most` is one, so that parts of this size divide parts of `most`.
    """
    fitting = max(1, ENCODED_PIXELS // size**2)
    return min(most, 1 << (fitting.bit_length() - 1))


class Draws:
    """Random numbers for the images of a global batch, of which those at `rows_N` are kept."""

    def __init__(self, generator: torch.Generator, of: int, rows_N: Tensor | None = None) -> None:
        self._generator, self._of, self._rows_N = generator, of, rows_N

    def uniform(self, *columns: int) -> Tensor:
        """Draws (N, *columns) float32, uniform in [0, 1)."""
        drawn_G = torch.rand(self._of, *columns, generator=self._generator, device=self._generator.device)
        return drawn_G if self._rows_N is None else drawn_G[self._rows_N]

    def happens(self, probability: float) -> Tensor:
        """Draws (N,) bool, true with `probability`."""
        return self.uniform() < probability


def random_crop_boxes(sizes_N2: Tensor, scale_min: float, draws: Draws) -> Tensor:
    """Draws boxes (top, left, height, width) in whole pixels, as torchvision's RandomResizedCrop does.

    The first of ten tries that fits is taken, else the largest central crop of an allowed aspect ratio.
    """
    height_N1, width_N1 = (side[:, None].float() for side in sizes_N2.unbind(1))
    area_NT = height_N1 * width_N1 * (scale_min + (1 - scale_min) * draws.uniform(CROP_TRIES))
    low, high = (math.log(ratio) for ratio in ASPECT_RATIOS)
    ratio_NT = torch.exp(low + (high - low) * draws.uniform(CROP_TRIES))
    tried_w_NT = torch.round(torch.sqrt(area_NT * ratio_NT))
    tried_h_NT = torch.round(torch.sqrt(area_NT / ratio_NT))
    fits_NT = (tried_w_NT >= 1) & (tried_w_NT <= width_N1) & (tried_h_NT >= 1) & (tried_h_NT <= height_N1)
    first_N1 = fits_NT.to(torch.uint8).argmax(dim=1, keepdim=True)

    central_w_N1 = torch.minimum(width_N1, torch.round(height_N1 * ASPECT_RATIOS[1]))
    central_h_N1 = torch.minimum(height_N1, torch.round(width_N1 / ASPECT_RATIOS[0]))
    any_N1 = fits_NT.any(dim=1, keepdim=True)
    box_w_N1 = torch.where(any_N1, tried_w_NT.gather(1, first_N1), central_w_N1)
    box_h_N1 = torch.where(any_N1, tried_h_NT.gather(1, first_N1), central_h_N1)
    place_N2 = draws.uniform(2)
    top_N1 = torch.floor(place_N2[:, :1] * (height_N1 - box_h_N1 + 1))
    left_N1 = torch.floor(place_N2[:, 1:] * (width_N1 - box_w_N1 + 1))
    top_N1 = torch.where(any_N1, top_N1, torch.floor((height_N1 - box_h_N1) / 2))
    left_N1 = torch.where(any_N1, left_N1, torch.floor((width_N1 - box_w_N1) / 2))
    return torch.cat([top_N1, left_N1, box_h_N1, box_w_N1], dim=1).long()


def _color_jitter(
    params: AugmentParams, order: Sequence[int], draws: Draws
) -> Iterator[tuple[Change, Tensor]]:
    jittered_N = draws.happens(params.jitter_probability)

    def around_N(middle: float, strength: float) -> Tensor:
        return torch.where(jittered_N, middle + strength * (2 * draws.uniform() - 1), middle)

    strengths = (params.brightness, params.contrast, params.saturation, params.hue)
    functions = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
    amounts = [around_N(middle, strength) for middle, strength in zip((1, 1, 1, 0), strengths, strict=True)]
    for index in order:
        if params.jitter_probability and strengths[index]:
            yield functions[index], amounts[index]


def _grayscale_blur_solarize(params: AugmentParams, draws: Draws) -> Iterator[tuple[Change, Tensor]]:
    if params.grayscale_probability:
        yield adjust_saturation, torch.where(draws.happens(params.grayscale_probability), 0.0, 1.0)
    if params.blur_probability:
        span = params.blur_sigma_max - params.blur_sigma_min
        sigma_N = params.blur_sigma_min + span * draws.uniform()
        yield blur, torch.where(draws.happens(params.blur_probability), sigma_N, 0.0)
    if params.solarize_probability:
        chosen_N = draws.happens(params.solarize_probability)
        yield solarize, torch.where(chosen_N, params.solarize_threshold, math.inf)
