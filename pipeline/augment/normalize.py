"""Normalisation of pixels, in parts that fit a cache. Shape letters: N images, C = 3 channels, S pixels."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

CACHED_PIXELS, DEVICE_PIXELS = 2**17, 2**26


class Normalizer:
    """Normalises pixels 0-1 to zero mean and unit deviation per channel, over the train images."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        self._mean_C11 = torch.tensor(mean, device=device).view(3, 1, 1)
        self._deviation_C11 = torch.tensor(std, device=device).view(3, 1, 1)

    def __call__(self, images_NCSS: Tensor) -> Tensor:
        normal_NCSS = torch.empty_like(images_NCSS, memory_format=torch.channels_last)
        for part in parts_in_cache(images_NCSS):
            normal_NCSS[part] = (images_NCSS[part] - self._mean_C11).div_(self._deviation_C11)
        return normal_NCSS


def parts_in_cache(images_NCHW: Tensor) -> Iterator[slice]:
    """Returns slices of few images: as many as fit a core's cache, or take little memory on other devices."""
    count, _, height, width = images_NCHW.shape
    on_cpu = images_NCHW.device.type == "cpu"
    pixels = CACHED_PIXELS * torch.get_num_threads() if on_cpu else DEVICE_PIXELS
    at_once = max(1, pixels // (height * width))
    return (slice(start, start + at_once) for start in range(0, count, at_once))
