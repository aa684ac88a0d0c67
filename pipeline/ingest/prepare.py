"""Preparation of one image file: checked, upright, RGB, resized and encoded; or kept if it already fits."""

import hashlib
import io
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.dataset.value_range import Scaled
from pipeline.ingest.decoding import ImageRefused, decode, errors_as_refusals, image_bytes, no_warnings
from pipeline.ingest.passthrough import LOSSLESS_UP_TO, PassedThrough, kept_jpeg, kept_png
from pipeline.ingest.perceptual_hash import LOOK
from pipeline.storage.schema import ValueRange
from pipeline.untrusted.safe_paths import SafePath

SAMPLED = 256
"""One in so many passed-through images is decoded for the channels' mean and deviation."""


@dataclass(frozen=True, slots=True)
class PreparedImage:
    encoded: bytes
    width: int
    height: int
    content_hash: bytes
    """Hash of size and pixels, 16 bytes: equal for images that look the same, whatever file they came in. For
    a JPEG that was passed through, hash of its bytes."""
    channel_sums: np.ndarray | None
    """(2, 3): sums and sums of squares of red, green, blue over the pixels, 0-1. None if the image was passed
    through and is not in the sample."""
    look: np.ndarray | None
    """(LOOK, LOOK) uint8: the image in gray, scaled to a square; None if not requested."""
    passed: bool = False
    """Whether the file's own JPEG data were kept."""
    scaled: Scaled | None = None
    """How values of more than 8 bits were scaled; None if there were none."""
    has_further_frames: bool = False
    """Whether the file holds further pages or frames, which are not used."""
    single_color: int | None = None
    """The color of all pixels of the decoded image, as 0xRRGGBB; None if there are several."""


def prepare_image(
    image: bytes | Path | SafePath, size: int, value_range: ValueRange | None = None, *, look: bool = False
) -> PreparedImage:
    """Prepares an image: its shorter side is scaled down to `size` pixels; a smaller image keeps its size.

    Values of more than 8 bits are scaled from `value_range`, or without one from each image's own
    (`to_8_bits`). A JPEG or PNG that would be stored as such keeps its own data. Raises `ImageRefused` with
    the reason.
    """
    data = image_bytes(image)
    with errors_as_refusals(data):
        if (kept := kept_jpeg(data, size)) and (seen := _look_of_jpeg(kept)) is not None:
            # Only an image whose look is even can have a single color.
            color = _color_of_jpeg(kept) if seen.min() == seen.max() else None
            return _passed(kept, seen if look else None, color)
        if (kept := kept_png(data, size)) and (pixels := _opened_png(kept)):
            return _prepared(kept.encoded, pixels, look)
        pixels, scaled, further = decode(data, size, value_range)
        prepared = _prepared(_encode(pixels), pixels, look)
        return replace(prepared, scaled=scaled, has_further_frames=further)


def pixels_to_store(
    image: bytes | Path | SafePath, size: int, value_range: ValueRange | None = None
) -> NDArray[np.uint8]:
    """Returns (H, W, 3): what a reader sees of the image that `prepare_image` would store.

    Raises `ImageRefused` with the reason.
    """
    data = image_bytes(image)
    with errors_as_refusals(data):
        if kept := kept_jpeg(data, size):
            with suppress(ImageRefused):
                return stored_pixels(kept.encoded)
        pixels = decode(data, size, value_range).pixels
        return np.asarray(pixels) if _is_lossless(pixels) else stored_pixels(_encode(pixels))


def stored_pixels(encoded: bytes | Path | SafePath) -> NDArray[np.uint8]:
    """Returns an image in its own size, upright and RGB, (H, W, 3); images that ingest stored already are.

    Raises `ImageRefused` with the reason.
    """
    data = image_bytes(encoded)
    with errors_as_refusals(data):
        return np.asarray(decode(data).pixels)


def channel_sums(encoded: bytes) -> np.ndarray:
    """Returns the channel sums (2, 3) of an image that ingest stored."""
    with Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG")) as opened:
        return _channel_sums(opened)


# --- kept bytes ---------------------------------------------------------------------------------------------


def _passed(kept: PassedThrough, look: np.ndarray | None, single_color: int | None) -> PreparedImage:
    content_hash = hashlib.sha256(kept.encoded).digest()[:16]
    return PreparedImage(
        encoded=kept.encoded,
        width=kept.width,
        height=kept.height,
        content_hash=content_hash,
        channel_sums=channel_sums(kept.encoded) if content_hash[0] % SAMPLED == 0 else None,
        look=look,
        passed=True,
        single_color=single_color,
    )


def _look_of_jpeg(kept: PassedThrough) -> np.ndarray | None:
    """Returns the look of a JPEG; None if it is damaged, which decoding the whole file then reports."""
    try:
        with Image.open(io.BytesIO(kept.encoded), formats=("JPEG",)) as opened:
            # Lets the decoder omit colours, and all detail that is smaller than a pixel of the look.
            opened.draft("L", (LOOK, LOOK))
            return _look(opened)
    except Exception:
        return None


def _color_of_jpeg(kept: PassedThrough) -> int | None:
    with Image.open(io.BytesIO(kept.encoded), formats=("JPEG",)) as opened:
        return _single_color(opened)


def _opened_png(kept: PassedThrough) -> Image.Image | None:
    """Returns the pixels; None if they are damaged, which decoding the whole file then reports."""
    try:
        with no_warnings(), Image.open(io.BytesIO(kept.encoded), formats=("PNG",)) as opened:
            opened.load()
            return opened
    except Exception:
        return None


# --- decoded pixels -----------------------------------------------------------------------------------------


def _prepared(encoded: bytes, pixels: Image.Image, look: bool) -> PreparedImage:
    width, height = pixels.size
    return PreparedImage(
        encoded=encoded,
        width=width,
        height=height,
        content_hash=hashlib.sha256(f"{width}x{height}".encode() + pixels.tobytes()).digest()[:16],
        channel_sums=_channel_sums(pixels),
        look=_look(pixels) if look else None,
        single_color=_single_color(pixels),
    )


def _single_color(pixels: Image.Image) -> int | None:
    """Returns the color of an RGB image if it has only one, as 0xRRGGBB."""
    extrema = pixels.getextrema()
    if any(low != high for low, high in extrema):  # type: ignore[misc]
        return None
    return int.from_bytes(bytes(low for low, _ in extrema), "big")  # type: ignore[misc]


POWERS_2V = np.stack([np.arange(256) / 255, np.square(np.arange(256) / 255)])


def _channel_sums(pixels: Image.Image) -> np.ndarray:
    values_V3 = np.reshape(pixels.histogram(), (3, 256)).T
    sums_23: np.ndarray = POWERS_2V @ values_V3
    return sums_23


def _look(image: Image.Image) -> np.ndarray:
    gray = image if image.mode == "L" else image.convert("L")
    return np.asarray(gray.resize((LOOK, LOOK), Image.Resampling.BILINEAR, reducing_gap=2.0))


def _is_lossless(image: Image.Image) -> bool:
    """Returns whether an image is stored so that every pixel keeps its value."""
    return min(image.size) <= LOSSLESS_UP_TO


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    # Otherwise Pillow would write the colour profile and the comment that it read.
    image.info.clear()
    if _is_lossless(image):
        image.save(buffer, "PNG", compress_level=3)
    else:
        image.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()
