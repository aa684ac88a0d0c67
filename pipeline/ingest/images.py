"""One encoded image -> checked, upright, RGB, resized, encoded again."""

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

MIN_SIDE = 8
MAX_PIXELS = 100_000_000
LOSSLESS_UP_TO = 64
"""Pixels of the shorter side up to which PNG is used: small images suffer from JPEG and gain little."""


class ImageRefused(ValueError):
    """The image can't be used; the message is the reason."""


@dataclass(frozen=True, slots=True)
class PreparedImage:
    encoded: bytes
    width: int
    height: int
    content_hash: bytes
    """Of size and pixels: equal for images that look the same, whatever file they came in."""
    channel_sums: np.ndarray
    """(2, 3): sums and sums of squares of red, green, blue over the pixels, 0-1."""


def prepare_image(image: bytes | Path, size: int) -> PreparedImage:
    """Scales the shorter side down to `size` pixels; a smaller image keeps its size.

    Raises `ImageRefused` with the reason.
    """
    pixels = _decode(image, size)
    width, height = pixels.size
    raw = np.asarray(pixels)
    unit = raw.reshape(-1, 3).astype(np.float64) / 255
    return PreparedImage(
        encoded=_encode(pixels),
        width=width,
        height=height,
        content_hash=hashlib.sha256(f"{width}x{height}".encode() + raw.tobytes()).digest()[:16],
        channel_sums=np.stack([unit.sum(axis=0), np.square(unit).sum(axis=0)]),
    )


def pixels_to_store(image: bytes | Path, size: int) -> NDArray[np.uint8]:
    """(H, W, 3): what a reader sees of the image that `prepare_image` would store.

    Raises `ImageRefused` with the reason.
    """
    pixels = _decode(image, size)
    return np.asarray(pixels) if _is_lossless(pixels) else stored_pixels(_encode(pixels))


def stored_pixels(encoded: bytes | Path) -> NDArray[np.uint8]:
    """(H, W, 3): an image in its own size, upright and RGB, as one that ingest stored is already.

    Raises `ImageRefused` with the reason.
    """
    return np.asarray(_decode(encoded, None))


def _decode(image: bytes | Path, size: int | None) -> Image.Image:
    """Upright and RGB; with `size` the shorter side is scaled down to so many pixels."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata and of large images; the checks below decide.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
                width, height = opened.size
                if width * height > MAX_PIXELS:
                    raise ImageRefused(f"more than {MAX_PIXELS // 1_000_000} million pixels")
                if min(width, height) < MIN_SIDE:
                    raise ImageRefused(f"a side is shorter than {MIN_SIDE} pixels")
                if size is not None:
                    # Lets the JPEG decoder scale down while decoding, to no less than twice what is needed.
                    opened.draft("RGB", (2 * size, 2 * size))
                opened.load()
                upright = _to_rgb(ImageOps.exif_transpose(opened))
                return upright if size is None else _resize(upright, size)
    except FileNotFoundError:
        raise ImageRefused("the file does not exist") from None
    except IsADirectoryError:
        raise ImageRefused("a folder, not a file") from None
    except PermissionError:
        raise ImageRefused("no permission to read the file") from None
    except UnidentifiedImageError:
        raise ImageRefused("not an image") from None
    except Image.DecompressionBombError:
        raise ImageRefused(f"more than {MAX_PIXELS // 1_000_000} million pixels") from None
    except ImageRefused:
        raise
    except Exception as error:
        # Some three dozen decoders raise what they please on damaged bytes; one image must not end a run.
        text = str(error).split("\n")[0]
        if "truncated" in text.lower() or isinstance(error, EOFError):
            raise ImageRefused("truncated image") from None
        raise ImageRefused(f"damaged image: {text or type(error).__name__}") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # Pillow clips instead of scaling when it converts more than 8 bits. Those without a known range
        # are scaled by their largest value.
        values = np.asarray(image, dtype=np.float64)
        largest = 65535.0 if image.mode.startswith("I;16") else max(float(values.max()), 255.0)
        image = Image.fromarray((values / largest * 255).clip(0, 255).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(background, image).convert("RGB")
    return image.convert("RGB")


def _resize(image: Image.Image, size: int) -> Image.Image:
    shorter = min(image.size)
    if shorter <= size:
        return image
    width, height = (max(1, round(side * size / shorter)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)


def _is_lossless(image: Image.Image) -> bool:
    """Whether it is stored so that every pixel keeps its value."""
    return min(image.size) <= LOSSLESS_UP_TO


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    if _is_lossless(image):
        image.save(buffer, "PNG", compress_level=3)
    else:
        image.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()
