"""The look of an image, in a hash of 64 bits and a thumbnail, by which near duplicates are found."""

import numpy as np
from numpy.typing import NDArray

LOOK = 32
"""Side in pixels of the gray square from which both are computed."""
THUMBNAIL = 16
"""Side of the thumbnail in pixels."""
THUMBNAIL_BYTES = THUMBNAIL * THUMBNAIL


def _cosines() -> NDArray[np.float32]:
    """Returns the lowest basis functions of the discrete cosine transform (DCT-II), (K, LOOK)."""
    frequency_K1, pixel_1L = np.arange(11)[:, None], np.arange(LOOK)[None]
    cosines: NDArray[np.float64] = np.cos(np.pi / LOOK * (pixel_1L + 0.5) * frequency_K1)
    return cosines.astype(np.float32)


def _lowest() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Returns the 64 lowest pairs of frequencies except the mean, by their sum."""
    pairs = sorted(((a, b) for a in range(11) for b in range(11)), key=lambda pair: (sum(pair), pair))
    rows, columns = zip(*pairs[1:65], strict=True)
    return np.array(rows), np.array(columns)


COSINES_KL = _cosines()
LOWEST = _lowest()


def perceptual_hashes(looks_NLL: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Returns 64 bits per image: which of its lowest frequencies are above their median.

    Scaling, compression and brightness change few of them (Zauner 2010, section 3.2.1). Shape: (N,).
    """
    if not len(looks_NLL):
        return np.empty(0, np.uint64)
    frequencies_NKK = COSINES_KL @ looks_NLL.astype(np.float32) @ COSINES_KL.T
    lowest_N64 = frequencies_NKK[:, *LOWEST]
    # A flat image has only rounding errors, which must not determine its bits.
    lowest_N64[np.abs(lowest_N64) < 1.0] = 0.0
    bits_N64 = lowest_N64 > np.median(lowest_N64, axis=1, keepdims=True)
    packed_N8 = np.packbits(np.ascontiguousarray(bits_N64), axis=1)
    return np.ascontiguousarray(packed_N8).view(">u8").ravel().astype(np.uint64)


def thumbnails(looks_NLL: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns gray values (N, THUMBNAIL_BYTES): means of squares of the looks."""
    side = LOOK // THUMBNAIL
    squares = looks_NLL.reshape(-1, THUMBNAIL, side, THUMBNAIL, side).astype(np.float32)
    means: NDArray[np.float32] = squares.mean(axis=(2, 4))
    return means.round().astype(np.uint8).reshape(-1, THUMBNAIL_BYTES)
