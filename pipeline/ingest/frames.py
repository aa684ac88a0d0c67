"""Further pages or frames of an image file, of which ingest uses the first."""

import io
from contextlib import suppress

from PIL import GifImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

MOST_PAGES = 32
"""Maximum number of pages of a TIFF that are looked at; a pyramid has one for each power of two."""
NEW_SUBFILE_TYPE, REDUCED_OR_MASK = 254, 0b101
SUBFILE_TYPE, REDUCED = 255, 2
"""TIFF tags of a page that repeats another one in a smaller size, or masks it, and their values."""


def has_further_frames(opened: ImageFile, data: bytes) -> bool:
    """Returns whether a file holds more than one picture: an animation, or a TIFF of several pages.

    Smaller copies of a TIFF's page, such as thumbnails, do not count, nor do the second pictures that cameras
    put behind a JPEG. False if the frames behind the first cannot be read.
    """
    # A frame may be looked for in a second opening alone: Pillow would leave the first frame in this one.
    if isinstance(opened, PngImagePlugin.PngImageFile | WebPImagePlugin.WebPImageFile):
        return bool(opened.is_animated)
    with suppress(Exception):
        if isinstance(opened, GifImagePlugin.GifImageFile):
            with GifImagePlugin.GifImageFile(io.BytesIO(data)) as gif:
                return bool(gif.is_animated)
        if isinstance(opened, TiffImagePlugin.TiffImageFile) and opened.is_animated:
            with TiffImagePlugin.TiffImageFile(io.BytesIO(data)) as tiff:
                return _has_further_pages(tiff)
    return False


def _has_further_pages(tiff: TiffImagePlugin.TiffImageFile) -> bool:
    with suppress(EOFError):
        for number in range(1, MOST_PAGES):
            tiff.seek(number)
            repeats = tiff.tag_v2.get(NEW_SUBFILE_TYPE, 0) & REDUCED_OR_MASK
            if not repeats and tiff.tag_v2.get(SUBFILE_TYPE) != REDUCED:
                return True
    return False
