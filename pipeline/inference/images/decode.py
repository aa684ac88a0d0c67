"""Pictures -> the pixels for the encoder, decoded in advance by processes that may crash."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.executors.workers import worker_count
from pipeline.inference.images.base import InputImage
from pipeline.inference.images.crop import ANSWER_BYTES, Decoded, refused, squares, whole
from pipeline.sources.base import Refusal
from pipeline.storage.schema import ValueRange
from pipeline.untrusted.isolation.pool import Call, Pool

A_CALL = 8
"""Images per call of a worker, fewer if large: those before one that kills the worker are decoded again."""
A_CALL_BYTES = 16 * 2**20
"""Bytes of encoded images at which a call is full; such a call counts as several."""
AHEAD = 128
"""Number of images that are decoded in advance of the encoder; more if there are many workers."""

T = TypeVar("T")


class Decoder:
    def __init__(self, workers: int) -> None:
        self._pool = Pool(workers)
        self._calls_ahead = max(AHEAD // A_CALL, 2 * workers)

    def squares(
        self, pictures: Iterable[InputImage | Refusal], size: int, value_range: ValueRange | None = None
    ) -> Iterator[Decoded | Refusal]:
        """Yields the id and central square of each picture, or why there is none, in order.

        For an encoder of images of `size` pixels that were scaled by `value_range` (`prepare_image`).
        """
        return self._answers(squares, pictures, size, value_range)

    def whole(self, pictures: Iterable[InputImage], size: int) -> Iterator[NDArray[np.uint8] | None]:
        """Yields (H, W, 3) of each picture, the longer side `size` pixels; None for one that is refused."""
        return self._answers(whole, pictures, size)

    def _answers(
        self,
        function: Callable[..., list[T]],
        pictures: Iterable[InputImage | Refusal],
        size: int,
        *further: object,
    ) -> Iterator[T]:
        def submit(some: list[InputImage | Refusal]) -> Future[list[T]]:
            return self._pool.submit(Call(function, some, (size, *further), refused))

        full = most = max(1, min(A_CALL, ANSWER_BYTES // (3 * size**2)))
        calls = _calls(pictures, lambda: most)
        waiting: deque[tuple[Future[list[T]], list[InputImage | Refusal], int]] = deque()
        ahead = 0
        while True:
            while ahead < self._calls_ahead and (call := next(calls, None)):
                some, counted = call
                waiting.append((submit(some), some, counted))
                ahead += counted
            if not waiting:
                return
            future, some, counted = waiting.popleft()
            answers = future.result()
            if rest := some[len(answers) :]:
                # Stored images are larger than expected, and later ones probably, too.
                waiting.appendleft((submit(rest), rest, counted))
                most = len(answers)
            else:
                ahead -= counted
                most = min(full, most + 1)
            yield from answers

    def close(self) -> None:
        self._pool.close()


def _calls(
    pictures: Iterable[InputImage | Refusal], most: Callable[[], int]
) -> Iterator[tuple[list[InputImage | Refusal], int]]:
    """Yields lists of at most `most()` pictures, and how many calls each list counts as."""
    some: list[InputImage | Refusal] = []
    encoded = 0
    for picture in pictures:
        some.append(picture)
        if isinstance(picture, InputImage) and isinstance(picture.image, bytes):
            encoded += len(picture.image)
        if len(some) >= most() or encoded >= A_CALL_BYTES:
            yield some, 1 + encoded // A_CALL_BYTES
            some, encoded = [], 0
    if some:
        yield some, 1


@contextmanager
def decoder() -> Iterator[Decoder]:
    opened = Decoder(worker_count())
    try:
        yield opened
    finally:
        opened.close()


def on_a_canvas(squares: Sequence[NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
    """Returns (N, 3, S, S) uint8 with each square at the top left, and (N, 2) their heights and widths."""
    sides_N = np.array([len(square) for square in squares])
    canvas_NHWC = np.zeros((len(squares), sides_N.max(), sides_N.max(), 3), np.uint8)
    for canvas_HWC, square in zip(canvas_NHWC, squares, strict=True):
        canvas_HWC[: len(square), : len(square)] = square
    return torch.from_numpy(canvas_NHWC).permute(0, 3, 1, 2), torch.from_numpy(sides_N).repeat(2, 1).T
