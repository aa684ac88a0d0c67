"""Random views of images, batched on the device, with numbers drawn anew for every image.

torchvision's v2 transforms draw one set of numbers for a whole batch, so they can't serve here. The
operations follow torchvision's definitions one by one; crop, flip and resize are one product with two
small matrices an image, which is exact antialiased bilinear resampling and runs as a batched matrix
product on any device.

Shape letters: N images, C = 3 channels, H x W canvas, S output pixels a side.
"""

import math
import random
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.training.params import AugmentParams

ASPECT_RATIOS = (3 / 4, 4 / 3)
CROP_TRIES = 10
LUMA = (0.2989, 0.587, 0.114)


class Normalizer:
    """Pixels 0-1 -> zero mean and unit deviation a channel, over the train images."""

    def __init__(self, mean: Sequence[float], deviation: Sequence[float], device: torch.device) -> None:
        self._mean_C11 = torch.tensor(mean, device=device).view(3, 1, 1)
        self._deviation_C11 = torch.tensor(deviation, device=device).view(3, 1, 1)

    def __call__(self, images_NCSS: Tensor) -> Tensor:
        normal = (images_NCSS - self._mean_C11) / self._deviation_C11
        return normal.contiguous(memory_format=torch.channels_last)


def random_views(
    canvas_NCHW: Tensor, sizes_N2: Tensor, size: int, params: AugmentParams, seed: int
) -> Tensor:
    """One random view of each image: (N, 3, size, size) float32, 0-1.

    `canvas_NCHW` is uint8 with each image at the top left, `sizes_N2` its height and width. Everything
    random follows from `seed` and happens on the tensors' device, without waiting for it.
    """
    generator = torch.Generator(canvas_NCHW.device).manual_seed(seed)
    boxes_N4 = random_crop_boxes(sizes_N2, params.crop_scale_min, generator)
    flipped_N = _uniform_N(len(sizes_N2), generator) < params.flip_probability
    views_NCSS = resample(canvas_NCHW, boxes_N4, size, flipped_N)
    # The order of the four colour changes is drawn once a call, on the host, which needs no device value.
    order = random.Random(seed).sample(range(4), 4)  # noqa: S311 - not for secrets
    views_NCSS = _color_jitter(views_NCSS, params, order, generator)
    gray_N111 = _column(_uniform_N(len(sizes_N2), generator) < params.grayscale_probability)
    return torch.where(gray_N111, luma(views_NCSS), views_NCSS)


def central_views(canvas_NCHW: Tensor, sizes_N2: Tensor, size: int) -> Tensor:
    """The largest central square of each image at `size` pixels: (N, 3, size, size) float32, 0-1."""
    side_N = sizes_N2.amin(dim=1)
    corners_N2 = (sizes_N2 - side_N[:, None]) // 2
    boxes_N4 = torch.cat([corners_N2, side_N[:, None], side_N[:, None]], dim=1)
    return resample(canvas_NCHW, boxes_N4, size)


def random_crop_boxes(sizes_N2: Tensor, scale_min: float, generator: torch.Generator) -> Tensor:
    """Boxes (top, left, height, width) in whole pixels, as torchvision's RandomResizedCrop draws them.

    Of ten tries the first that fits is taken, else the largest central crop of an allowed aspect ratio.
    """
    count, device = len(sizes_N2), sizes_N2.device
    height_N1, width_N1 = (side[:, None].float() for side in sizes_N2.unbind(1))

    def uniform_NT() -> Tensor:
        return torch.rand(count, CROP_TRIES, generator=generator, device=device)

    area_NT = height_N1 * width_N1 * (scale_min + (1 - scale_min) * uniform_NT())
    low, high = (math.log(ratio) for ratio in ASPECT_RATIOS)
    ratio_NT = torch.exp(low + (high - low) * uniform_NT())
    tried_w_NT = torch.round(torch.sqrt(area_NT * ratio_NT))
    tried_h_NT = torch.round(torch.sqrt(area_NT / ratio_NT))
    fits_NT = (tried_w_NT >= 1) & (tried_w_NT <= width_N1) & (tried_h_NT >= 1) & (tried_h_NT <= height_N1)
    first_N1 = fits_NT.to(torch.uint8).argmax(dim=1, keepdim=True)

    central_w_N1 = torch.minimum(width_N1, torch.round(height_N1 * ASPECT_RATIOS[1]))
    central_h_N1 = torch.minimum(height_N1, torch.round(width_N1 / ASPECT_RATIOS[0]))
    any_N1 = fits_NT.any(dim=1, keepdim=True)
    box_w_N1 = torch.where(any_N1, tried_w_NT.gather(1, first_N1), central_w_N1)
    box_h_N1 = torch.where(any_N1, tried_h_NT.gather(1, first_N1), central_h_N1)
    place_N2 = torch.rand(count, 2, generator=generator, device=device)
    top_N1 = torch.floor(place_N2[:, :1] * (height_N1 - box_h_N1 + 1))
    left_N1 = torch.floor(place_N2[:, 1:] * (width_N1 - box_w_N1 + 1))
    top_N1 = torch.where(any_N1, top_N1, torch.floor((height_N1 - box_h_N1) / 2))
    left_N1 = torch.where(any_N1, left_N1, torch.floor((width_N1 - box_w_N1) / 2))
    return torch.cat([top_N1, left_N1, box_h_N1, box_w_N1], dim=1).long()


def resample(canvas_NCHW: Tensor, boxes_N4: Tensor, size: int, flipped_N: Tensor | None = None) -> Tensor:
    """Crops `boxes_N4` (top, left, height, width), scales them to `size` and mirrors where `flipped_N`.

    Equals torchvision's `resized_crop(..., antialias=True)`: the bilinear filter widens with the scale
    and sees no pixel outside its box. Returns (N, 3, size, size) float32, 0-1.
    """
    _, _, height, width = canvas_NCHW.shape
    top_N, left_N, box_h_N, box_w_N = boxes_N4.unbind(1)
    rows_NSH = _filter_matrices(top_N, box_h_N, size, height)
    columns_NSW = _filter_matrices(left_N, box_w_N, size, width)
    if flipped_N is not None:
        columns_NSW = torch.where(flipped_N[:, None, None], columns_NSW.flip(1), columns_NSW)
    pixels_NCHW = canvas_NCHW.float() / 255
    return rows_NSH[:, None] @ pixels_NCHW @ columns_NSW.transpose(1, 2)[:, None]


def _filter_matrices(start_N: Tensor, length_N: Tensor, size: int, source: int) -> Tensor:
    """(N, size, source) weights of the antialiased bilinear filter along one axis; each row sums to 1."""
    start_N11, length_N11 = start_N.float()[:, None, None], length_N.float()[:, None, None]
    outputs_S1 = torch.arange(size, device=start_N.device)[:, None]
    inputs_W = torch.arange(source, device=start_N.device)
    scale_N11 = length_N11 / size
    centers_NS1 = start_N11 + (outputs_S1 + 0.5) * scale_N11
    distances_NSW = (inputs_W + 0.5 - centers_NS1).abs() / scale_N11.clamp(min=1)
    inside_N1W = (inputs_W >= start_N11) & (inputs_W < start_N11 + length_N11)
    weights_NSW = (1 - distances_NSW).clamp(min=0) * inside_N1W
    return weights_NSW / weights_NSW.sum(dim=2, keepdim=True)


def _color_jitter(
    images_NCSS: Tensor, params: AugmentParams, order: Sequence[int], generator: torch.Generator
) -> Tensor:
    count = len(images_NCSS)
    jittered_N = _uniform_N(count, generator) < params.jitter_probability

    def factor_N111(strength: float) -> Tensor:
        factor_N = 1 + strength * (2 * _uniform_N(count, generator) - 1)
        return _column(torch.where(jittered_N, factor_N, 1.0))

    brightness, contrast, saturation = (
        factor_N111(strength) for strength in (params.brightness, params.contrast, params.saturation)
    )
    hue = _column(torch.where(jittered_N, params.hue * (2 * _uniform_N(count, generator) - 1), 0.0))
    changes = (
        lambda images: adjust_brightness(images, brightness),
        lambda images: adjust_contrast(images, contrast),
        lambda images: adjust_saturation(images, saturation),
        lambda images: adjust_hue(images, hue),
    )
    for index in order:
        images_NCSS = changes[index](images_NCSS)
    return images_NCSS


def adjust_brightness(images_NCSS: Tensor, factor_N111: Tensor) -> Tensor:
    return (images_NCSS * factor_N111).clamp(0, 1)


def adjust_contrast(images_NCSS: Tensor, factor_N111: Tensor) -> Tensor:
    """Blends with the image's mean luma."""
    mean_N111 = luma(images_NCSS).mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean_N111, images_NCSS, factor_N111).clamp(0, 1)


def adjust_saturation(images_NCSS: Tensor, factor_N111: Tensor) -> Tensor:
    """Blends with the image's own luma."""
    return torch.lerp(luma(images_NCSS), images_NCSS, factor_N111).clamp(0, 1)


def adjust_hue(images_NCSS: Tensor, turn_N111: Tensor) -> Tensor:
    """Turns the hue of HSV by `turn_N111` (1 is a full turn); value and saturation stay."""
    red, green, blue = images_NCSS.unbind(1)
    value = images_NCSS.amax(dim=1)
    chroma = value - images_NCSS.amin(dim=1)
    divisor = torch.where(chroma > 0, chroma, 1.0)
    # Sixths of a turn, counted from the channel that is largest.
    sixths = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    sixths = sixths + 6 * turn_N111[:, 0]
    # A channel falls from `value` by `chroma` times a trapezoid of its distance from the hue.
    phases = torch.stack([sixths + 5, sixths + 3, sixths + 1], dim=1).remainder(6)
    trapezoid = torch.minimum(phases, 4 - phases).clamp(0, 1)
    return value[:, None] - chroma[:, None] * trapezoid


def luma(images_NCSS: Tensor) -> Tensor:
    """(N, 1, S, S) perceived lightness, ITU-R BT.601."""
    red, green, blue = images_NCSS.split(1, dim=1)
    luma_N1SS: Tensor = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return luma_N1SS


def _uniform_N(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator, device=generator.device)


def _column(values_N: Tensor) -> Tensor:
    return values_N[:, None, None, None]
