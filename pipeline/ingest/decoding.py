"""Reading and decoding of untrusted image files: the first frame, upright and RGB, within limits."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

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
from pipeline.ingest.passthrough import MAX_PIXELS, MAX_SCANS, MIN_SIDE, without_texts
from pipeline.ingest.refusals import TOO_MANY_PIXELS, reason_of_decoder
from pipeline.ingest.webp import MAX_WEBP_PIXELS, webp_pixels
from pipeline.storage.schema import ValueRange
from pipeline.untrusted.isolation import limits
from pipeline.untrusted.safe_paths import SafePath
from pipeline.untrusted.similar_paths import why_missing
from pipeline.untrusted.unsafe_path import MISSING, UnsafePath, reason_of

WEBP, TIFF = WebPImagePlugin.WebPImageFile.format, TiffImagePlugin.TiffImageFile.format
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", WEBP, TIFF)
"""Common formats. Each of Pillow's three dozen other decoders would enlarge the attack surface."""
MAX_BYTES = 128 * 1024 * 1024
TOO_LARGE = f"a file of more than {MAX_BYTES >> 20} MiB"
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 8 * 1024 * 1024
"""Maximum size, in unpacked bytes, of a PNG's texts that may define its orientation: XMP may hold an editor's
whole history. Its other texts are not unpacked."""


class ImageRefused(ValueError):
    """Raised for an image that can't be used; the message is the reason."""


@contextmanager
def errors_as_refusals(data: bytes) -> Iterator[None]:
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


def image_bytes(image: bytes | Path | SafePath) -> bytes:
    """Returns the encoded image. Raises `ImageRefused`, as `read_image_file` does."""
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


@contextmanager
def no_warnings() -> Iterator[None]:
    """Suppresses Pillow's warnings of odd metadata and large images; the checks here decide."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Decoded(NamedTuple):
    pixels: Image.Image
    """Upright and RGB."""
    scaled: Scaled | None
    has_further_frames: bool


def decode(data: bytes, size: int | None = None, value_range: ValueRange | None = None) -> Decoded:
    """Decodes the first frame. With `size`, its shorter side is scaled down to so many pixels."""
    if data.startswith(b"\xff\xd8") and data.count(b"\xff\xda") > MAX_SCANS:
        raise ImageRefused(f"a JPEG of more than {MAX_SCANS} scans, which costs too much to decode")
    if webp_pixels(data) > MAX_WEBP_PIXELS:
        raise ImageRefused(f"a WebP of more than {MAX_WEBP_PIXELS // 1_000_000} million pixels")
    with no_warnings(), Image.open(io.BytesIO(without_texts(data)), formats=FORMATS) as opened:
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
        return Decoded(pixels, scaled, has_further_frames(opened, data))


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
