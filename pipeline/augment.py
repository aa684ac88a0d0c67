"""Random views of images, computed in batches on the device, with random numbers of each image's own.

torchvision's v2 transforms draw one set of numbers per batch, so they cannot be used here. The operations
follow torchvision's definitions. Crop, flip, resize and blur compute each line of pixels from a few others,
with weights of each image's own: two sums over small bags, first of rows, then of columns.

Shape letters: N images, C = 3 channels, H x W canvas, S output pixels per side, L lines of V values, K taps
of a filter, G images of the global batch.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.config.pretrain import AugmentParams

ASPECT_RATIOS = (3 / 4, 4 / 3)
CROP_TRIES = 10
LUMA = (0.2989, 0.587, 0.114)
CACHED_PIXELS, DEVICE_PIXELS = 2**17, 2**26
ENCODED_PIXELS = 2**25
"""Maximum number of pixels of the views that pass through an encoder together without a gradient: 512 views
of 256 x 256 pixels."""

Change = Callable[[Tensor, Tensor], Tensor]
"""Function that changes images (N, 3, S, S) by an amount (N, 1, 1, 1); it may overwrite the images."""


class Normalizer:
    """Normalises pixels 0-1 to zero mean and unit deviation per channel, over the train images."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        self._mean_C11 = torch.tensor(mean, device=device).view(3, 1, 1)
        self._deviation_C11 = torch.tensor(std, device=device).view(3, 1, 1)

    def __call__(self, images_NCSS: Tensor) -> Tensor:
        normal_NCSS = torch.empty_like(images_NCSS, memory_format=torch.channels_last)
        for part in _parts(images_NCSS):
            normal_NCSS[part] = (images_NCSS[part] - self._mean_C11).div_(self._deviation_C11)
        return normal_NCSS


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


def central_views(canvas_NCHW: Tensor, sizes_N2: Tensor, size: int) -> Tensor:
    """Returns the largest central square of each image at `size` pixels: (N, 3, size, size) float32, 0-1."""
    side_N = sizes_N2.amin(dim=1)
    corners_N2 = (sizes_N2 - side_N[:, None]) // 2
    boxes_N4 = torch.cat([corners_N2, side_N[:, None], side_N[:, None]], dim=1)
    return resample(canvas_NCHW, boxes_N4, size)


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


def resample(
    canvas_NCHW: Tensor,
    boxes_N4: Tensor,
    size: int,
    flipped_N: Tensor | None = None,
    changes: Sequence[tuple[Change, Tensor]] = (),
    normalize: Normalizer | None = None,
) -> Tensor:
    """Crops `boxes_N4` (top, left, height, width), scales them to `size` and mirrors them where `flipped_N`.

    Equals torchvision's `resized_crop(..., antialias=True)`: the bilinear filter widens with the scale and
    reads no pixel outside its box. `changes`, each with its amounts for the images, and `normalize` follow
    while the pixels are cached. Returns (N, 3, size, size) float32, 0-1 before `normalize`.
    """
    count, channels, height, width = canvas_NCHW.shape
    top_N1, left_N1, box_h_N1, box_w_N1 = boxes_N4.float().split(1, dim=1)
    down_S = torch.arange(size, dtype=torch.float32, device=canvas_NCHW.device)
    across_NS = down_S if flipped_N is None else torch.where(flipped_N[:, None], size - 1 - down_S, down_S)
    taps_NSK, weights_NSK = _bilinear(top_N1, box_h_N1, down_S, size, height)
    rows = Filter(taps_NSK, weights_NSK / 255)
    columns = _bilinear(left_N1, box_w_N1, across_NS, size, width)
    layout = torch.contiguous_format if normalize is None else torch.channels_last
    shape = (count, channels, size, size)
    views_NCSS = torch.empty(shape, device=canvas_NCHW.device, memory_format=layout)
    for part in _parts(canvas_NCHW):
        pixels_NHWC = canvas_NCHW[part].permute(0, 2, 3, 1).float()
        images_NCSS = _filtered(pixels_NHWC, rows.of(part), columns.of(part))
        for change, amounts_N111 in changes:
            images_NCSS = change(images_NCSS, amounts_N111[part])
        views_NCSS[part] = images_NCSS if normalize is None else normalize(images_NCSS)
    return views_NCSS


class Filter(NamedTuple):
    """The taps and weights that compute each of S lines of an image from its given lines."""

    taps_NSK: Tensor
    """int32 indices of lines."""
    weights_NSK: Tensor
    """float32 weight of each tap."""

    def of(self, images: slice) -> "Filter":
        return Filter(self.taps_NSK[images], self.weights_NSK[images])


def _bilinear(start_N1: Tensor, length_N1: Tensor, outputs_NS: Tensor, size: int, source: int) -> Filter:
    """Returns the antialiased bilinear filter from a stretch of `source` pixels to `size`.

    Its weights sum to 1.
    """
    # No stretch is longer than the source, so no filter is wider than this.
    offsets_K = torch.arange(math.ceil(2 * max(1.0, source / size)), device=start_N1.device)
    scale_N1 = length_N1 / size
    radius_N1 = scale_N1.clamp(min=1)
    centers_NS = start_N1 + (outputs_NS + 0.5) * scale_N1
    taps_KNS = torch.floor(centers_NS - radius_N1 + 0.5) + offsets_K[:, None, None]
    weights_KNS = (1 - (taps_KNS + 0.5 - centers_NS).abs() / radius_N1).clamp(min=0)
    weights_KNS = weights_KNS * ((taps_KNS >= start_N1) & (taps_KNS < start_N1 + length_N1))
    # Summed along contiguous memory, a bag's weights are added in one order, wherever its image is in the
    # batch.
    weights_NSK = weights_KNS.movedim(0, 2).contiguous()
    weights_NSK = weights_NSK / weights_NSK.sum(dim=2, keepdim=True)
    return Filter(taps_KNS.clamp(0, source - 1).int().movedim(0, 2), weights_NSK)


def _filtered(pixels_NHWC: Tensor, rows: Filter, columns: Filter) -> Tensor:
    """Applies one filter to the rows of each image and another to its columns: (N, C, S, S) float32.

    The columns of the result are adjacent in memory.
    """
    count, height, width, channels = pixels_NHWC.shape
    images_N11 = torch.arange(count, dtype=torch.int32, device=pixels_NHWC.device)[:, None, None]
    lines_LV = pixels_NHWC.reshape(count * height, width * channels)
    lines_LV = _weighted_sums(lines_LV, images_N11 * height + rows.taps_NSK, rows.weights_NSK)
    # Now a line for each column, channel and image, in this order.
    lines_LV = lines_LV.T.contiguous().view(width * channels * count, -1)
    channels_C11 = torch.arange(channels, dtype=torch.int32, device=pixels_NHWC.device)[:, None, None]
    taps_NCSK = (columns.taps_NSK[:, None] * channels + channels_C11) * count + images_N11[:, None]
    weights_NCSK = columns.weights_NSK[:, None].expand_as(taps_NCSK)
    lines_LV = _weighted_sums(lines_LV, taps_NCSK, weights_NCSK)
    return lines_LV.view(*taps_NCSK.shape[:3], -1).transpose(2, 3)


def _weighted_sums(lines_LV: Tensor, taps: Tensor, weights: Tensor) -> Tensor:
    """Returns the weighted sum of the lines of each bag of K taps: (bags, V)."""
    taps_BK, weights_BK = taps.flatten(0, -2), weights.flatten(0, -2)
    return functional.embedding_bag(taps_BK, lines_LV, per_sample_weights=weights_BK, mode="sum")


def _parts(images_NCHW: Tensor) -> Iterator[slice]:
    """Returns slices of few images: as many as fit a core's cache, or take little memory on other devices."""
    count, _, height, width = images_NCHW.shape
    on_cpu = images_NCHW.device.type == "cpu"
    pixels = CACHED_PIXELS * torch.get_num_threads() if on_cpu else DEVICE_PIXELS
    at_once = max(1, pixels // (height * width))
    return (slice(start, start + at_once) for start in range(0, count, at_once))


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


def adjust_brightness(images_NCSS: Tensor, factor_N111: Tensor) -> Tensor:
    return images_NCSS.mul_(factor_N111).clamp_(0, 1)


def adjust_contrast(images_NCSS: Tensor, factor_N111: Tensor) -> Tensor:
    """Blends with the image's mean luma."""
    mean_N111 = luma(images_NCSS.mean(dim=(2, 3), keepdim=True))
    return images_NCSS.mul_(factor_N111).add_(mean_N111 * (1 - factor_N111)).clamp_(0, 1)


def adjust_saturation(images_NCSS: Tensor, factor_N111: Tensor) -> Tensor:
    """Blends with the image's own luma."""
    return images_NCSS.lerp_(luma(images_NCSS), 1 - factor_N111).clamp_(0, 1)


def adjust_hue(images_NCSS: Tensor, turn_N111: Tensor) -> Tensor:
    """Turns the hue of HSV by `turn_N111` of a full turn, at most half of one; value and saturation stay."""
    red, green, blue = images_NCSS.split(1, dim=1)
    lowest = torch.minimum(torch.minimum(red, green), blue)
    # The floor keeps the division defined for grey pixels; it is far below the resolution of a value.
    chroma = torch.maximum(torch.maximum(red, green), blue).sub_(lowest).clamp_(min=1e-12)
    # The hue's distance from pure red, in sixths of a turn: from 0 to 2 the larger of green and blue rises,
    # then red falls; from 2 to 3 the smaller rises. Selecting by the largest channel would branch.
    from_red = (green + blue).sub_(red).sub_(lowest).div_(chroma).add_(1)
    hue = torch.copysign(from_red, green - blue)
    turns = torch.add(turn_N111 + 1, hue, alpha=1 / 6).frac_()
    # A channel is at its highest up to a sixth from its own hue, and at its lowest from two sixths on.
    own_hue_C11 = torch.arange(0, 6, 2, device=images_NCSS.device)[:, None, None]
    sixths_NCSS = torch.add(-own_hue_C11, turns, alpha=6, out=images_NCSS)
    height_NCSS = sixths_NCSS.abs_().sub_(3).abs_().sub_(1).clamp_(0, 1)
    return height_NCSS.mul_(chroma).add_(lowest)


def blur(images_NCSS: Tensor, sigma_N111: Tensor) -> Tensor:
    """Applies a Gaussian blur of `sigma_N111` pixels with reflected borders; a sigma of 0 changes nothing."""
    if images_NCSS.device.type != "cpu":
        return _blurred(images_NCSS, sigma_N111)
    # On another device the host would wait for the number of these images.
    chosen = sigma_N111.flatten().nonzero()[:, 0]
    if len(chosen):
        images_NCSS[chosen] = _blurred(images_NCSS[chosen], sigma_N111[chosen])
    return images_NCSS


def _blurred(images_NCSS: Tensor, sigma_N111: Tensor) -> Tensor:
    channels, size = images_NCSS.shape[1], images_NCSS.shape[-1]
    reach = blur_kernel_size(size) // 2
    offsets_K = torch.arange(-reach, reach + 1, dtype=torch.int32, device=images_NCSS.device)
    # A sigma far below a pixel puts all weight in the middle.
    bells_N1K = torch.exp(-0.5 * (offsets_K / sigma_N111[:, 0].clamp(min=1e-3)) ** 2)
    weights_N1K = bells_N1K / bells_N1K.sum(dim=2, keepdim=True)
    taps_SK = (torch.arange(size, dtype=torch.int32, device=images_NCSS.device)[:, None] + offsets_K).abs()
    taps_SK = size - 1 - (size - 1 - taps_SK).abs()
    kernel = Filter(taps_SK[None], weights_N1K.repeat_interleave(channels, dim=0).expand(-1, size, -1))
    # Each channel is treated as an image. The kernel is the same along both axes, so they can be swapped,
    # which makes the columns of `resample` contiguous in memory.
    planes_MSS1 = images_NCSS.transpose(2, 3).flatten(0, 1)[..., None]
    return _filtered(planes_MSS1, kernel, kernel).transpose(2, 3).reshape(images_NCSS.shape)


def blur_kernel_size(size: int) -> int:
    """Returns about a tenth of the image's side, odd: 23 for 224, as in SimCLR."""
    return max(3, size // 10 | 1)


def solarize(images_NCSS: Tensor, threshold_N111: Tensor) -> Tensor:
    """Inverts the values from the threshold on."""
    return torch.where(images_NCSS >= threshold_N111, 1 - images_NCSS, images_NCSS)


def luma(images_NCSS: Tensor) -> Tensor:
    """Returns the perceived lightness (N, 1, S, S), ITU-R BT.601."""
    red, green, blue = images_NCSS.split(1, dim=1)
    luma_N1SS: Tensor = (LUMA[0] * red).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])
    return luma_N1SS
