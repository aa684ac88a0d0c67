"""An image as ingest stores it -> its pixels, and the part of them that is used."""

import io
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STORED = ("PNG", "JPEG")
"""The formats that ingest writes; no other decoder is asked."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = struct.Struct(">4x4sIIBBBBB4x")
"""Of a PNG: the chunk's kind, width, height, bits, colour, compression, filtering, interlacing."""
MOST_PIXELS = 1 << 24
"""For more Pillow decides; ingest keeps small images as PNG."""
CHUNK = struct.Struct(">I4s")
EIGHT_BIT_RGB = (b"IHDR", 8, 2, 0, 0)
MAX_ASPECT = 2
"""Images longer than this are cut to their middle, so that one panorama does not widen the whole tensor."""


def decoded(encoded: bytes) -> NDArray[np.uint8]:
    """(height, width, 3), red, green and blue. Raises what Pillow raises for what can't be decoded."""
    pixels_HWC = _plain_png(encoded) if encoded.startswith(PNG_SIGNATURE) else None
    if pixels_HWC is None:
        with Image.open(io.BytesIO(encoded), formats=STORED) as image:
            pixels_HWC = np.asarray(image)
    return pixels_HWC


def _plain_png(encoded: bytes) -> NDArray[np.uint8] | None:
    """Of a PNG with header, pixels, end, and nothing else; None of another, and of a damaged one.

    Pillow finds its way through a file in Python, which threads do in turn: of a small image that is most of
    the work. Here only its decoder is asked, beside which other threads run. Checksums are not looked at:
    those of the Parquet pages have been.
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
    """(N, 2) height and width, the longer side at most `MAX_ASPECT` times the shorter one."""
    cut_N2: NDArray[np.int64] = np.minimum(sizes_N2, MAX_ASPECT * sizes_N2.min(axis=1, keepdims=True))
    return cut_N2


def center_crop(
    pixels_HWC: NDArray[np.uint8], size_2: Sequence[int] | NDArray[np.int64]
) -> NDArray[np.uint8]:
    """(height, width, 3), cut to `size_2` (height, width)."""
    height, width = (int(side) for side in size_2)
    top, left = (pixels_HWC.shape[0] - height) // 2, (pixels_HWC.shape[1] - width) // 2
    return pixels_HWC[top : top + height, left : left + width]
