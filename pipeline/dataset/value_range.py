"""Images of more than 8 bits per channel -> 8 bits, scaled by the range of their values.

Pillow would clip them. Cameras and scanners write 10, 12 or 14 bits into 16; measurements, such as heights
or the Hounsfield units of computed tomography, are signed or real numbers, with a value for "no data".
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin
from PIL.ImageFile import ImageFile

from pipeline.storage.schema import ValueRange

PIXELS_AT_ONCE = 4_000_000
USUAL_MAXIMA = (1, 255, 1023, 4095, 16383, 65535)
"""Upper ends of usual ranges from 0: fractions, and 8, 10, 12, 14 and 16 bits. An image has such a range if
its largest value is in the upper three quarters, so that no image becomes black."""
NO_DATA = (-9999.0, -32768.0)
"""Values that programs write for missing data, besides those that are not finite or from `NO_DATA_FROM`."""
NO_DATA_FROM = 1e30
GDAL_NODATA = 42113
"""The TIFF tag of the value for no data."""
PHOTOMETRIC, WHITE_IS_ZERO = TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 0
"""The TIFF tag of the meaning of values, and its value for images whose smallest value is white."""
FEWEST_UPPER_BITS = 16
"""Pillow reads the upper 8 of 16-bit colours; with fewer values than this, hardly anything is left."""


class Scaled(NamedTuple):
    """The range of values that was scaled to 8 bits."""

    low: float
    high: float
    has_missing: bool
    """Whether some pixels hold no data; these become black."""

    @property
    def is_usual(self) -> bool:
        """Whether the range is common to all images of the same depth."""
        return self.low == 0 and self.high in USUAL_MAXIMA


class NoRange(ValueError):
    """Raised for an image that cannot be scaled; the message is the reason."""


def has_more_than_8_bits(image: Image.Image) -> bool:
    """Returns whether Pillow keeps the original values, in one channel."""
    return image.mode.startswith("I") or image.mode == "F"


def reads_upper_bits(image: ImageFile) -> bool:
    """Returns whether Pillow reads only the upper half of 16 bits. Call it before the pixels are loaded."""
    return image.mode in ("RGB", "RGBA", "LA") and any(";16" in str(tile.args) for tile in image.tile)


def check_upper_bits(image: Image.Image) -> None:
    """Raises `NoRange` if the upper bits are nearly black (`reads_upper_bits`)."""
    channels = image.getextrema()[: 1 if image.mode == "LA" else 3]
    if max(high for _, high in channels) < FEWEST_UPPER_BITS:  # type: ignore[misc]
        raise NoRange("colours of 16 bits that use 12 or fewer of them: convert the image to 8 bits")


def to_8_bits(image: Image.Image, given: ValueRange | None) -> tuple[Image.Image, Scaled]:
    """Scales an image that `has_more_than_8_bits` linearly from the `given` range or its own range.

    The latter ends at the first of `USUAL_MAXIMA` that suits its values, else spans its smallest to its
    largest value. If the image stores white as zero (TIFF 6.0, PhotometricInterpretation), its values are
    mirrored within their range first: Pillow does so only for up to 8 bits. Raises `NoRange` if no pixel
    holds data.
    """
    no_data = [*NO_DATA, *_declared_no_data(image)]
    own_range, has_missing = _own_range(image, no_data)
    mirror = None
    if _is_white_zero(image):
        mirror = sum(given or _range_of_white_zero(own_range, image.mode))
        own_range = ValueRange(mirror - own_range.high, mirror - own_range.low)
    low, high = given or _usual_range(own_range)
    scaled = Image.new("L", image.size)
    for top, strip in strips(image):
        values = np.asarray(strip).astype(np.float64)
        missing = _is_missing(values, no_data)
        if mirror is not None:
            values = mirror - values
        values[missing] = low
        shares = (values - low) / ((high - low) or 1.0)
        scaled.paste(Image.fromarray((shares * 255).clip(0, 255).round().astype(np.uint8)), (0, top))
    return scaled, Scaled(low, high, has_missing)


def _own_range(image: Image.Image, no_data: list[float]) -> tuple[ValueRange, bool]:
    """Returns the smallest and largest value, and whether some pixels hold no data."""
    low, high, has_missing = np.inf, -np.inf, False
    for _, strip in strips(image):
        values = np.asarray(strip)
        missing = _is_missing(values, no_data)
        if missing.any():
            has_missing = True
            values = values[~missing]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    if low > high:
        raise NoRange("no pixel holds a value: all are not finite or stand for no data")
    return ValueRange(low, high), has_missing


def _usual_range(own: ValueRange) -> ValueRange:
    """Returns the usual range that suits an image's `own` range; the latter if there is none."""
    usual = (float(largest) for largest in USUAL_MAXIMA if largest / 4 < own.high <= largest)
    largest = next(usual, None) if own.low >= 0 else None
    return own if largest is None else ValueRange(0.0, largest)


def _range_of_white_zero(own: ValueRange, mode: str) -> ValueRange:
    """Returns the range in which values with white as zero are mirrored. A page that is nearly white as a
    whole has small values, which say nothing of its depth: it has 16 bits."""
    return ValueRange(0, 65535) if mode.startswith("I") and own.high <= 255 else _usual_range(own)


def _is_missing(values: NDArray[np.generic], no_data: list[float]) -> NDArray[np.bool_]:
    missing: NDArray[np.bool_] = np.isin(values, no_data)
    if values.dtype.kind == "f":
        missing |= ~(np.abs(values) < NO_DATA_FROM)  # includes NaN
    return missing


def _is_white_zero(image: Image.Image) -> bool:
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return bool(image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO)


def _declared_no_data(image: Image.Image) -> list[float]:
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return []
    try:
        return [float(str(image.tag_v2[GDAL_NODATA]).strip(" \0"))]
    except (KeyError, ValueError):
        return []


def scaling_notes(ways: Counter[Scaled], given: ValueRange | None) -> list[str]:
    """Returns notes for the user on how images were scaled; none if all use the whole range of 16 bits."""
    notes = []
    if given is not None and (images := ways.total()):
        notes.append(
            f"{images:,} images of more than 8 bits were scaled from {given.low:g} to {given.high:g} "
            "(ingest.value_range)"
        )
    elif given is None:
        by_range = Counter[tuple[float, float] | None]()
        for way, images in ways.items():
            by_range[(way.low, way.high) if way.is_usual else None] += images
        alike = "" if len(by_range) == 1 and None not in by_range else ": ingest.value_range scales all alike"
        notes += [
            f"{images:,} images of more than 8 bits were scaled "
            + ("each from its smallest to its largest value" if used is None else f"from 0 to {used[1]:,g}")
            + alike
            for used, images in by_range.most_common()
            if alike or used != (0, USUAL_MAXIMA[-1])
        ]
    if images := sum(images for way, images in ways.items() if way.has_missing):
        notes.append(f"{images:,} images have pixels that hold no data, which are black")
    return notes


def strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yields the image in horizontal strips, each with its top, to avoid copies of a whole large image."""
    width, height = image.size
    rows = max(1, PIXELS_AT_ONCE // width)
    for top in range(0, height, rows):
        yield top, image if rows >= height else image.crop((0, top, width, min(height, top + rows)))
