"""Pictures -> pixels, in a worker process: this module imports nothing that starts threads."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.config.base import LARGEST_IMAGE_SIZE
from pipeline.dataset.decode import center_crop, sizes_after_cutting
from pipeline.inference.images.base import InputImage
from pipeline.ingest.decoding import ImageRefused
from pipeline.ingest.prepare import pixels_to_store, stored_pixels
from pipeline.sources.base import Refusal
from pipeline.storage.schema import ValueRange
from pipeline.untrusted.isolation.limits import limited

Decoded = tuple[str, NDArray[np.uint8]]
"""The id of a picture, and its pixels."""
ANSWER_BYTES = 8 * 2**20
"""Bytes of pixels at which the answer to a call is full. Those of stored images are known only when they are
decoded."""


def squares(
    pictures: Sequence[InputImage | Refusal], size: int, value_range: ValueRange | None
) -> list[Decoded | Refusal]:
    """Returns the central square of each picture, as in `central_square`, or why there is none.

    Returns those of the first pictures alone, at least one, if they hold `ANSWER_BYTES`.
    """
    answers: list[Decoded | Refusal] = []
    held = 0
    for picture in limited(pictures):
        answers.append(answer := _square(picture, size, value_range))
        held += 0 if isinstance(answer, Refusal) else answer[1].nbytes
        if held >= ANSWER_BYTES:
            break
    return answers


def _square(picture: InputImage | Refusal, size: int, value_range: ValueRange | None) -> Decoded | Refusal:
    if isinstance(picture, Refusal):
        return picture
    try:
        return picture.id, central_square(picture, size, value_range)
    except ImageRefused as why:
        return Refusal(picture.id, str(why))


def central_square(
    picture: InputImage, size: int, value_range: ValueRange | None = None
) -> NDArray[np.uint8]:
    """Returns (S, S, 3): the part of a picture that evaluation sees if ingest stores it at `size` pixels.

    `value_range` is that of `prepare_image`. Raises `ImageRefused` with the reason.
    """
    if picture.stored:
        pixels_HWC = stored_pixels(picture.image)
    else:
        pixels_HWC = pixels_to_store(picture.image, size, value_range)
    if min(pixels_HWC.shape[:2]) > LARGEST_IMAGE_SIZE:
        # The table only looks like ingest's.
        raise ImageRefused(f"larger than any image that ingest stores ({LARGEST_IMAGE_SIZE} pixels)")
    # Cropped twice, as in evaluation: to what the store keeps, then to its square.
    kept_HWC = center_crop(pixels_HWC, sizes_after_cutting(np.array([pixels_HWC.shape[:2]]))[0])
    side = min(kept_HWC.shape[:2])
    # A view would hold all pixels of a long picture until its call ends, at the expense of the next ones.
    return center_crop(kept_HWC, (side, side)).copy()


def whole(pictures: Sequence[InputImage | Refusal], size: int) -> list[NDArray[np.uint8] | None]:
    """Returns (H, W, 3) of each picture, the longer side `size` pixels; None for one that is refused."""
    return [_whole(picture, size) for picture in limited(pictures)]


def _whole(picture: InputImage | Refusal, size: int) -> NDArray[np.uint8] | None:
    if isinstance(picture, Refusal):
        return None
    try:
        image = Image.fromarray(pixels_to_store(picture.image, size))
    except ImageRefused:
        return None
    longer = max(image.size)
    # A tiny picture shows its pixels, as the encoder saw them.
    resampling = Image.Resampling.NEAREST if 2 * longer <= size else Image.Resampling.BICUBIC
    width, height = (max(1, round(side * size / longer)) for side in image.size)
    return np.asarray(image.resize((width, height), resampling))


def refused(picture: InputImage | Refusal, reason: str) -> InputImage | Refusal:
    """Returns the replacement of a picture that kills its process."""
    return picture if isinstance(picture, Refusal) else Refusal(picture.id, reason)
