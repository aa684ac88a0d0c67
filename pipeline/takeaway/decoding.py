"""Pictures -> the pixels that the encoder is to see, decoded ahead of it by processes that may die of it."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.engines.workers import worker_count
from pipeline.isolation.pool import Call, Pool
from pipeline.sources.base import Refusal
from pipeline.takeaway.pictures import Picture
from pipeline.takeaway.squares import Decoded, refused, squares, whole

A_CALL = 8
"""Images that a worker is given at once: those before one that ends it are decoded again."""
AHEAD = 128
"""Images that are decoded while the encoder is busy with others; more where there are many workers."""


class Decoder:
    def __init__(self, workers: int) -> None:
        self._pool = Pool(workers)
        self._calls_ahead = max(AHEAD // A_CALL, 2 * workers)

    def squares(self, pictures: Iterable[Picture | Refusal], size: int) -> Iterator[Decoded | Refusal]:
        """The id and central square of each picture, or why there is none, in their order.

        For an encoder of images of `size` pixels.
        """
        waiting: deque[Future[list[Decoded | Refusal]]] = deque()
        coming = iter(pictures)
        while True:
            while len(waiting) < self._calls_ahead and (some := list(islice(coming, A_CALL))):
                waiting.append(self._pool.submit(Call(squares, some, (size,), refused)))
            if not waiting:
                return
            yield from waiting.popleft().result()

    def whole(self, pictures: Sequence[Picture], size: int) -> list[NDArray[np.uint8] | None]:
        """(H, W, 3) of each picture, the shorter side scaled down to `size`; None of one that is refused."""
        found: list[NDArray[np.uint8] | None] = self._pool.submit(
            Call(whole, pictures, (size,), refused)
        ).result()
        return found

    def close(self) -> None:
        self._pool.close()


@contextmanager
def decoder() -> Iterator[Decoder]:
    opened = Decoder(worker_count())
    try:
        yield opened
    finally:
        opened.close()


def on_a_canvas(squares: Sequence[NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
    """(N, 3, S, S) uint8 with each square at the top left, and (N, 2) their heights and widths."""
    sides_N = np.array([len(square) for square in squares])
    canvas_NHWC = np.zeros((len(squares), sides_N.max(), sides_N.max(), 3), np.uint8)
    for canvas_HWC, square in zip(canvas_NHWC, squares, strict=True):
        canvas_HWC[: len(square), : len(square)] = square
    return torch.from_numpy(canvas_NHWC).permute(0, 3, 1, 2), torch.from_numpy(sides_N).repeat(2, 1).T
