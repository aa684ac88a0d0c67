"""The number of images that the encoder processes at once."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.evaluation.features import TrainedEncoder, features_of_batch
from pipeline.inference.images.decode import on_a_canvas
from pipeline.runtime.errors import UserError

MOST_ON_A_CPU, MOST_ON_A_GPU = 256, 2048
SHARE_OF_MEMORY = 1 / 16
CANVAS_BYTES = 2**28
"""Bytes at which a batch of large images is full, however few they are."""


def batch_size_for(identity: dict[str, Any], device: torch.device) -> int:
    """Returns the batch size for the device's total memory, not the free one, so that it is reproducible."""
    # The widest maps of a ResNet: 256 channels at the resolution of its stem, a few of them held at once.
    side = identity["image_size"] / (identity["stem_stride"] or 4)
    bytes_an_image = 4 * 256 * side**2 * 4 + 3 * identity["image_size"] ** 2 * 8
    if device.type == "cuda":
        memory, most = torch.cuda.get_device_properties(device).total_memory, MOST_ON_A_GPU
    else:
        memory, most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), MOST_ON_A_CPU
    fits = max(1, int(memory * SHARE_OF_MEMORY / bytes_an_image))
    return int(min(most, 2 ** (fits.bit_length() - 1)))


class BatchEncoder:
    """Runs batches through the encoder; halves them if the device's memory is too small for one."""

    def __init__(self, trained: TrainedEncoder, device: torch.device, size: int) -> None:
        self._trained, self._device = trained, device
        self.size = size

    def is_full(self, squares: Sequence[NDArray[np.uint8]]) -> bool:
        side = max((len(square) for square in squares), default=0)
        return len(squares) >= self.size or len(squares) * side**2 * 3 >= CANVAS_BYTES

    def would_overflow(self, squares: Sequence[NDArray[np.uint8]], further: NDArray[np.uint8]) -> bool:
        """Returns whether one large image would make the canvas of many small ones far too large."""
        side = max(len(square) for square in [*squares, further])
        return len(squares) > 0 and (len(squares) + 1) * side**2 * 3 > 2 * CANVAS_BYTES

    def features(self, squares: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Returns the features (N, D), float32, on the device, which may still be computing them."""
        canvas_NCHW, sizes_N2 = on_a_canvas(squares)
        parts: list[Tensor] = []
        start = 0
        while start < len(squares):
            part = slice(start, start + self.size)
            made_ND = self._within_memory(canvas_NCHW[part], sizes_N2[part])
            if made_ND is None:
                self._halve()
            else:
                parts.append(made_ND)
                start = part.stop
        return torch.cat(parts)

    def _within_memory(self, canvas_NCHW: Tensor, sizes_N2: Tensor) -> Tensor | None:
        """Returns the features, or None if the memory is too small; partial results are freed on return."""
        try:
            return features_of_batch(self._trained, canvas_NCHW.to(self._device), sizes_N2.to(self._device))
        except torch.OutOfMemoryError:
            return None

    def _halve(self) -> None:
        if self.size == 1:
            raise UserError(
                f"the memory of {self._device} does not hold one image of {self._trained.image_size} pixels: "
                "free some of it, or set CLINFONCE_DEVICE=cpu"
            )
        self.size //= 2
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
