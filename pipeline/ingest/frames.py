"""Further pages or frames of an image file, of which ingest uses the first."""

import io
from contextlib import suppress

from PIL import GifImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

MOST_GIF_BLOCKS = 1_000_000
"""Maximum number of blocks of a GIF that are looked at, in a tenth of a second. Full ones hold 250 MB."""
GIF_HEADER, GIF_IMAGE, GIF_EXTENSION, GIF_END = 13, ord(","), ord("!"), ord(";")
MOST_PAGES = 32
"""Maximum number of pages of a TIFF that are looked at; a pyramid has one for each power of two."""
NEW_SUBFILE_TYPE, REDUCED_OR_MASK = 254, 0b101
SUBFILE_TYPE, REDUCED = 255, 2
"""TIFF tags of a page that repeats another one in a smaller size, or masks it, and their values."""


def has_further_frames(opened: ImageFile, data: bytes) -> bool:
    """Returns whether a file holds more than one picture: an animation, or a TIFF of several pages.

    Smaller copies of a TIFF's page, such as thumbnails, do not count, nor do the second pictures that cameras
    put behind a JPEG. False if the frames behind the first cannot be read, or not found within bounds.
    """
    # A frame may be looked for in a second opening alone: Pillow would leave the first frame in this one.
    if isinstance(opened, PngImagePlugin.PngImageFile | WebPImagePlugin.WebPImageFile):
        return bool(opened.is_animated)
    with suppress(Exception):
        if isinstance(opened, GifImagePlugin.GifImageFile):
            return _has_further_images(data)
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


def _has_further_images(gif: bytes) -> bool:
    """Returns whether a second image begins. Raises `IndexError` for a file that breaks off before.

    Pillow reads one block after the other, however many there are, and images behind the first are not used:
    100 MB of comments took longer than an image may.
    """
    place, images, in_data = GIF_HEADER + _color_table_bytes(gif[10]), 0, False
    for _ in range(MOST_GIF_BLOCKS):
        byte = gif[place]
        if in_data:
            place, in_data = place + 1 + byte, byte > 0
        elif byte == GIF_IMAGE and images:
            return True
        elif byte == GIF_IMAGE:
            place, images, in_data = place + 11 + _color_table_bytes(gif[place + 9]), 1, True
        elif byte == GIF_EXTENSION:
            place, in_data = place + 2, True
        elif byte == GIF_END:
            return False
        else:
            place += 1  # as Pillow does
    return False


def _color_table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
