"""Stored image -> pixels, and their central part."""

import io
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STORED = ("PNG", "JPEG")
"""The formats that ingest writes; other decoders are not used."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = struct.Struct(">4x4sIIBBBBB4x")
"""IHDR of a PNG: chunk type, width, height, bits, colour, compression, filter, interlace."""
MOST_PIXELS = 1 << 24
"""Maximum size of images that are decoded here; larger ones are left to Pillow. Ingest stores small images as
PNG."""
CHUNK = struct.Struct(">I4s")
EIGHT_BIT_RGB = (b"IHDR", 8, 2, 0, 0)
MAX_ASPECT = 2
"""Maximum ratio of an image's sides; longer images are cut to their middle, so that a panorama does not widen
the whole tensor."""


def decoded(encoded: bytes) -> NDArray[np.uint8]:
    """Decodes an image to (height, width, 3) RGB. Raises Pillow's exceptions if it cannot be decoded."""
    pixels_HWC = _plain_png(encoded) if encoded.startswith(PNG_SIGNATURE) else None
    if pixels_HWC is None:
        with Image.open(io.BytesIO(encoded), formats=STORED) as image:
            pixels_HWC = np.asarray(image)
    return pixels_HWC


def _plain_png(encoded: bytes) -> NDArray[np.uint8] | None:
    """Decodes a PNG of header, pixels and end only; returns None for other and for damaged files.

    Pillow parses files in Python, under the GIL, which takes most of the time for a small image. Here only
    its decoder runs, which releases the GIL. Checksums of the PNG are ignored, since those of the Parquet
    pages have been checked.
    """
    try:
        kind, width, height, bits, colour, *ways, interlaced = HEADER.unpack_from(encoded, len(PNG_SIGNATURE))
        if (kind, bits, colour, *ways) != EIGHT_BIT_RGB or not 0 < width * height <= MOST_PIXELS:
            return None
        packed = []
        place = len(PNG_SIGNATURE) + HEADER.size
        while (found := CHUNK.unpack_from(encoded, place))[1] == b"IDAT":
            start, place = place + CHUNK.size, place + CHUNK.size + found[0] + 4
            packed.append(encoded[start : start + found[0]])
        if found[1] != b"IEND":
            return None
        image = Image.frombytes("RGB", (width, height), b"".join(packed), "zip", "RGB", interlaced)
    except (struct.error, ValueError, MemoryError):
        return None
    return np.asarray(image)


def sizes_after_cutting(sizes_N2: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns height and width, (N, 2), with the longer side at most `MAX_ASPECT` times the shorter one."""
    cut_N2: NDArray[np.int64] = np.minimum(sizes_N2, MAX_ASPECT * sizes_N2.min(axis=1, keepdims=True))
    return cut_N2


def center_crop(
    pixels_HWC: NDArray[np.uint8], size_2: Sequence[int] | NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Cuts the middle of `size_2` (height, width) out of an image: (height, width, 3)."""
    height, width = (int(side) for side in size_2)
    top, left = (pixels_HWC.shape[0] - height) // 2, (pixels_HWC.shape[1] - width) // 2
    return pixels_HWC[top : top + height, left : left + width]
