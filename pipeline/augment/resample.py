"""Crop, flip, resize and blur: each line of pixels is computed from a few others.

The weights are each image's own: two sums over small bags, first of rows, then of columns.

Shape letters: N images, C = 3 channels, H x W canvas, S output pixels per side, L lines of V values, K taps
of a filter.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.augment.normalize import Normalizer, parts_in_cache

PILLOW_WEIGHT = 2**22
"""Pillow multiplies bytes by whole numbers of this share, so that sums fit into 32 bits."""
Change = Callable[[Tensor, Tensor], Tensor]
"""Function that changes images (N, 3, S, S) by an amount (N, 1, 1, 1); it may overwrite the images."""


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
    bilinear = KERNELS["bilinear"]
    taps_NSK, weights_NSK = _antialiased(top_N1, box_h_N1, down_S, size, height, bilinear)
    rows = Filter(taps_NSK, weights_NSK / 255)
    columns = _antialiased(left_N1, box_w_N1, across_NS, size, width, bilinear)
    layout = torch.contiguous_format if normalize is None else torch.channels_last
    shape = (count, channels, size, size)
    views_NCSS = torch.empty(shape, device=canvas_NCHW.device, memory_format=layout)
    for part in parts_in_cache(canvas_NCHW):
        pixels_NHWC = canvas_NCHW[part].permute(0, 2, 3, 1).float()
        images_NCSS = filtered(pixels_NHWC, rows.of(part), columns.of(part))
        for change, amounts_N111 in changes:
            images_NCSS = change(images_NCSS, amounts_N111[part])
        views_NCSS[part] = images_NCSS if normalize is None else normalize(images_NCSS)
    return views_NCSS


def resample_as_pillow(
    canvas_NCHW: Tensor, squares_N4: Tensor, scaled: int, inner: slice, kernel: "Kernel"
) -> Tensor:
    """Scales `squares_N4` (top, left, side, side) to `scaled` pixels and keeps the `inner` rows and columns.

    Equals the evaluation transform of timm and torchvision on Pillow images: `Resize`, `CenterCrop`,
    `ToTensor`. As in Pillow, rows are filtered first, and pixels are rounded to 8 bits after each direction.
    Returns (N, 3, S, S) float32, 0-1.
    """
    # In float64, sums of products of bytes and Pillow's weights are exact, so that they round alike.
    outputs_S = torch.arange(scaled, dtype=torch.float64, device=canvas_NCHW.device)[inner]
    top_N1, left_N1, side_N1, _ = squares_N4.double().split(1, dim=1)
    rows = _antialiased(top_N1, side_N1, outputs_S, scaled, canvas_NCHW.shape[2], kernel).as_pillow()
    columns = _antialiased(left_N1, side_N1, outputs_S, scaled, canvas_NCHW.shape[3], kernel).as_pillow()
    size = len(outputs_S)
    views_NCSS = torch.empty((*canvas_NCHW.shape[:2], size, size), device=canvas_NCHW.device)
    for part in parts_in_cache(canvas_NCHW):
        pixels_NWHC = canvas_NCHW[part].permute(0, 3, 2, 1).double()
        images_NCSS = filtered(pixels_NWHC, columns.of(part), rows.of(part), rounded=True)
        views_NCSS[part] = images_NCSS.transpose(2, 3).float() / 255
    return views_NCSS


class Kernel(NamedTuple):
    """A filter for scaling."""

    radius: int
    """Distance in output pixels, or input pixels when enlarging, from which weights are 0."""
    weights: Callable[[Tensor], Tensor]
    """Weights by distance, both in units of a pixel."""


def _cubic(distances: Tensor) -> Tensor:
    """Returns Keys' cubic convolution with a = -0.5, as Pillow's BICUBIC."""
    near = (1.5 * distances - 2.5) * distances.square() + 1
    far = ((-0.5 * distances + 2.5) * distances - 4) * distances + 2
    return torch.where(distances < 1, near, torch.where(distances < 2, far, 0.0))


KERNELS = {
    "bilinear": Kernel(1, lambda distances: (1 - distances).clamp(min=0)),
    "bicubic": Kernel(2, _cubic),
}


class Filter(NamedTuple):
    """The taps and weights that compute each of S lines of an image from its given lines."""

    taps_NSK: Tensor
    """int32 indices of lines."""
    weights_NSK: Tensor
    """Weight of each tap."""

    def of(self, images: slice) -> "Filter":
        return Filter(self.taps_NSK[images], self.weights_NSK[images])

    def as_pillow(self) -> "Filter":
        """Returns the filter with weights of as many bits as Pillow's."""
        return Filter(self.taps_NSK, (self.weights_NSK * PILLOW_WEIGHT).round() / PILLOW_WEIGHT)


def _antialiased(
    start_N1: Tensor, length_N1: Tensor, outputs_NS: Tensor, size: int, source: int, kernel: Kernel
) -> Filter:
    """Returns the antialiased filter from a stretch of `source` pixels to the `outputs_NS` among `size`.

    Its weights sum to 1.
    """
    # No stretch is longer than the source, so no filter is wider than this.
    offsets_K = torch.arange(math.ceil(2 * kernel.radius * max(1.0, source / size)), device=start_N1.device)
    scale_N1 = length_N1 / size
    unit_N1 = scale_N1.clamp(min=1)
    centers_NS = start_N1 + (outputs_NS + 0.5) * scale_N1
    taps_KNS = torch.floor(centers_NS - kernel.radius * unit_N1 + 0.5) + offsets_K[:, None, None]
    weights_KNS = kernel.weights((taps_KNS + 0.5 - centers_NS).abs() / unit_N1)
    weights_KNS = weights_KNS * ((taps_KNS >= start_N1) & (taps_KNS < start_N1 + length_N1))
    # Summed along contiguous memory, a bag's weights are added in one order, wherever its image is in the
    # batch.
    weights_NSK = weights_KNS.movedim(0, 2).contiguous()
    weights_NSK = weights_NSK / weights_NSK.sum(dim=2, keepdim=True)
    return Filter(taps_KNS.clamp(0, source - 1).int().movedim(0, 2), weights_NSK)


def filtered(pixels_NHWC: Tensor, rows: Filter, columns: Filter, *, rounded: bool = False) -> Tensor:
    """Applies one filter to the rows of each image and another to its columns: (N, C, S, S).

    If `rounded`, each result is rounded to a whole number from 0 to 255. The columns of the result are
    adjacent in memory.
    """
    count, height, width, channels = pixels_NHWC.shape
    images_N11 = torch.arange(count, dtype=torch.int32, device=pixels_NHWC.device)[:, None, None]
    lines_LV = pixels_NHWC.reshape(count * height, width * channels)
    lines_LV = _weighted_sums(lines_LV, images_N11 * height + rows.taps_NSK, rows.weights_NSK)
    if rounded:
        lines_LV = _in_8_bits(lines_LV)
    # Now a line for each column, channel and image, in this order.
    lines_LV = lines_LV.T.contiguous().view(width * channels * count, -1)
    channels_C11 = torch.arange(channels, dtype=torch.int32, device=pixels_NHWC.device)[:, None, None]
    taps_NCSK = (columns.taps_NSK[:, None] * channels + channels_C11) * count + images_N11[:, None]
    weights_NCSK = columns.weights_NSK[:, None].expand_as(taps_NCSK)
    lines_LV = _weighted_sums(lines_LV, taps_NCSK, weights_NCSK)
    if rounded:
        lines_LV = _in_8_bits(lines_LV)
    return lines_LV.view(*taps_NCSK.shape[:3], -1).transpose(2, 3)


def _weighted_sums(lines_LV: Tensor, taps: Tensor, weights: Tensor) -> Tensor:
    """Returns the weighted sum of the lines of each bag of K taps: (bags, V)."""
    taps_BK, weights_BK = taps.flatten(0, -2), weights.flatten(0, -2)
    return functional.embedding_bag(taps_BK, lines_LV, per_sample_weights=weights_BK, mode="sum")


def _in_8_bits(values: Tensor) -> Tensor:
    return values.add_(0.5).floor_().clamp_(0, 255)
