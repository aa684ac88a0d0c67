"""Pictures -> the pixels that the encoder is to see, decoded ahead of it by threads."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.ingest.images import ImageRefused, pixels_to_store, stored_pixels
from pipeline.sources.base import Refusal
from pipeline.store import middle_of, sizes_after_cutting
from pipeline.takeaway.pictures import Picture

AHEAD = 128
"""Images that are decoded while the encoder is busy with others."""
Decoded = tuple[str, NDArray[np.uint8]]


class Decoder:
    def __init__(self, threads: ThreadPoolExecutor, size: int) -> None:
        self._threads, self._size = threads, size

    def squares(self, pictures: Iterable[Picture | Refusal]) -> Iterator[Decoded | Refusal]:
        """The id and central square of each picture, or why there is none, in their order."""
        waiting: deque[Future[Decoded | Refusal]] = deque()
        coming = iter(pictures)
        while True:
            waiting.extend(
                self._threads.submit(self._square, p) for p in islice(coming, AHEAD - len(waiting))
            )
            if not waiting:
                return
            yield waiting.popleft().result()

    def _square(self, picture: Picture | Refusal) -> Decoded | Refusal:
        if isinstance(picture, Refusal):
            return picture
        try:
            return picture.id, central_square(picture, self._size)
        except ImageRefused as refused:
            return Refusal(picture.id, str(refused))


@contextmanager
def decoder(size: int) -> Iterator[Decoder]:
    """For an encoder of images of `size` pixels. Pillow frees the interpreter's lock while it decodes."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        try:
            yield Decoder(threads, size)
        finally:
            threads.shutdown(cancel_futures=True)


def central_square(picture: Picture, size: int) -> NDArray[np.uint8]:
    """(S, S, 3): the part that evaluation sees of what ingest at `size` pixels stores of the picture.

    Raises `ImageRefused` with the reason.
    """
    pixels_HWC = stored_pixels(picture.image) if picture.stored else pixels_to_store(picture.image, size)
    # Cut twice, as there: to what the store keeps, then to its square.
    kept_HWC = middle_of(pixels_HWC, sizes_after_cutting(np.array([pixels_HWC.shape[:2]]))[0])
    side = min(kept_HWC.shape[:2])
    return middle_of(kept_HWC, (side, side))


def on_a_canvas(squares: Sequence[NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
    """(N, 3, S, S) uint8 with each square at the top left, and (N, 2) their heights and widths."""
    sides_N = np.array([len(square) for square in squares])
    canvas_NHWC = np.zeros((len(squares), sides_N.max(), sides_N.max(), 3), np.uint8)
    for canvas_HWC, square in zip(canvas_NHWC, squares, strict=True):
        canvas_HWC[: len(square), : len(square)] = square
    return torch.from_numpy(canvas_NHWC).permute(0, 3, 1, 2), torch.from_numpy(sides_N).repeat(2, 1).T
