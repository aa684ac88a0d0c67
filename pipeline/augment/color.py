"""Changes of colour and sharpness by an amount of each image's own, as torchvision defines them.

Shape letters: N images, C = 3 channels, S pixels per side, K taps of a filter. Values are 0-1, and images may
be overwritten.
"""

import torch
from torch import Tensor

from pipeline.augment.resample import Filter, filtered

LUMA = (0.2989, 0.587, 0.114)


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
    return filtered(planes_MSS1, kernel, kernel).transpose(2, 3).reshape(images_NCSS.shape)


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
