"""Preparation of one image file: checked, upright, RGB, resized and encoded; or kept if it already fits."""

import hashlib
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Importing a plugin registers its format; otherwise Pillow would load all of its plugins for these two.
from PIL import Image, ImageOps, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from pipeline.dataset.value_range import (
    NoRange,
    Scaled,
    check_upper_bits,
    has_more_than_8_bits,
    reads_upper_bits,
    strips,
    to_8_bits,
)
from pipeline.ingest.frames import has_further_frames
from pipeline.ingest.passthrough import (
    LOSSLESS_UP_TO,
    MAX_PIXELS,
    MAX_SCANS,
    MIN_SIDE,
    PassedThrough,
    kept_jpeg,
    kept_png,
    without_texts,
)
from pipeline.ingest.perceptual_hash import LOOK
from pipeline.ingest.refusals import TOO_MANY_PIXELS, reason_of_decoder
from pipeline.ingest.webp import MAX_WEBP_PIXELS, webp_pixels
from pipeline.storage.schema import ValueRange
from pipeline.untrusted.isolation import limits
from pipeline.untrusted.safe_paths import MISSING, SafePath, UnsafePath, reason_of
from pipeline.untrusted.similar_paths import why_missing

WEBP, TIFF = WebPImagePlugin.WebPImageFile.format, TiffImagePlugin.TiffImageFile.format
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", WEBP, TIFF)
"""Common formats. Each of Pillow's three dozen other decoders would enlarge the attack surface."""
MAX_BYTES = 128 * 1024 * 1024
TOO_LARGE = f"a file of more than {MAX_BYTES >> 20} MiB"
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 8 * 1024 * 1024
"""Maximum size, in unpacked bytes, of a PNG's texts that may define its orientation: XMP may hold an editor's
whole history. Its other texts are not unpacked."""
SAMPLED = 256
"""One in so many passed-through images is decoded for the channels' mean and deviation."""


class ImageRefused(ValueError):
    """Raised for an image that can't be used; the message is the reason."""


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
    data = _data_of(image)
    with _errors_as_refusals(data):
        if (kept := kept_jpeg(data, size)) and (seen := _look_of_jpeg(kept)) is not None:
            # Only an image whose look is even can have a single color.
            color = _color_of_jpeg(kept) if seen.min() == seen.max() else None
            return _passed(kept, seen if look else None, color)
        if (kept := kept_png(data, size)) and (pixels := _opened_png(kept)):
            return _prepared(kept.encoded, pixels, look)
        pixels, scaled, further = _decode(data, size, value_range)
        prepared = _prepared(_encode(pixels), pixels, look)
        return replace(prepared, scaled=scaled, has_further_frames=further)


def pixels_to_store(
    image: bytes | Path | SafePath, size: int, value_range: ValueRange | None = None
) -> NDArray[np.uint8]:
    """Returns (H, W, 3): what a reader sees of the image that `prepare_image` would store.

    Raises `ImageRefused` with the reason.
    """
    data = _data_of(image)
    with _errors_as_refusals(data):
        if kept := kept_jpeg(data, size):
            with suppress(ImageRefused):
                return stored_pixels(kept.encoded)
        pixels = _decode(data, size, value_range).pixels
        return np.asarray(pixels) if _is_lossless(pixels) else stored_pixels(_encode(pixels))


def stored_pixels(encoded: bytes | Path | SafePath) -> NDArray[np.uint8]:
    """Returns an image in its own size, upright and RGB, (H, W, 3); images that ingest stored already are.

    Raises `ImageRefused` with the reason.
    """
    data = _data_of(encoded)
    with _errors_as_refusals(data):
        return np.asarray(_decode(data).pixels)


@contextmanager
def _errors_as_refusals(data: bytes) -> Iterator[None]:
    """Turns errors within the block into `ImageRefused`, as one image must not end a run.

    Decoders raise arbitrary exceptions on damaged bytes.
    """
    limits.forget_lack_of_memory()
    try:
        yield
    except ImageRefused:
        raise
    except NoRange as why:
        raise ImageRefused(str(why)) from None
    except Exception as error:
        if limits.lacked_memory(error):
            raise ImageRefused(limits.TOO_LARGE) from None
        raise ImageRefused(reason_of_decoder(error, data)) from None


def _data_of(image: bytes | Path | SafePath) -> bytes:
    if not isinstance(image, bytes):
        return read_image_file(image)
    if len(image) > MAX_BYTES:
        raise ImageRefused(TOO_LARGE)
    return image


def read_image_file(file: Path | SafePath) -> bytes:
    """Returns the file's bytes.

    Raises `ImageRefused` for what is no file or cannot be read, and for more than `MAX_BYTES`.
    """
    path = SafePath(file) if isinstance(file, Path) else file
    try:
        data = path.read_whole(MAX_BYTES)
    except UnsafePath as unsafe:
        raise ImageRefused(why_missing(path) if unsafe.reason == MISSING else unsafe.reason) from None
    except OSError as error:
        raise ImageRefused(
            reason_of(error) or f"the file can't be read: {os.strerror(error.errno or 0)}"
        ) from None
    if data is None:
        raise ImageRefused(TOO_LARGE)
    return data


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
        with _no_warnings(), Image.open(io.BytesIO(kept.encoded), formats=("PNG",)) as opened:
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


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Suppresses Pillow's warnings of odd metadata and large images; the checks here decide."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _Decoded(NamedTuple):
    pixels: Image.Image
    """Upright and RGB."""
    scaled: Scaled | None
    has_further_frames: bool


def _decode(data: bytes, size: int | None = None, value_range: ValueRange | None = None) -> _Decoded:
    """Decodes the first frame. With `size`, its shorter side is scaled down to so many pixels."""
    if data.startswith(b"\xff\xd8") and data.count(b"\xff\xda") > MAX_SCANS:
        raise ImageRefused(f"a JPEG of more than {MAX_SCANS} scans, which costs too much to decode")
    if webp_pixels(data) > MAX_WEBP_PIXELS:
        raise ImageRefused(f"a WebP of more than {MAX_WEBP_PIXELS // 1_000_000} million pixels")
    with _no_warnings(), Image.open(io.BytesIO(without_texts(data)), formats=FORMATS) as opened:
        width, height = opened.size
        if width * height > MAX_PIXELS:
            raise ImageRefused(TOO_MANY_PIXELS)
        if min(width, height) < MIN_SIDE:
            raise ImageRefused(f"a side is shorter than {MIN_SIDE} pixels")
        if size is not None:
            # Lets the JPEG decoder scale down while decoding, to no less than twice what is needed.
            opened.draft("RGB", (2 * size, 2 * size))
        only_upper_bits = reads_upper_bits(opened)
        opened.load()
        if only_upper_bits:
            check_upper_bits(opened)
        ImageOps.exif_transpose(opened, in_place=True)
        upright, scaled = to_8_bits(opened, value_range) if has_more_than_8_bits(opened) else (opened, None)
        upright = _to_rgb(upright)
        pixels = upright if size is None else _resize(upright, size)
        return _Decoded(pixels, scaled, has_further_frames(opened, data))


def _to_rgb(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    opaque = Image.new("RGB", image.size)
    for top, strip in strips(image):
        strip = strip.convert("RGBA")
        background = Image.new("RGBA", strip.size, "white")
        opaque.paste(Image.alpha_composite(background, strip).convert("RGB"), (0, top))
    return opaque


def _resize(image: Image.Image, size: int) -> Image.Image:
    shorter = min(image.size)
    if shorter <= size:
        return image
    width, height = (max(1, round(side * size / shorter)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)


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
