"""The header of a WebP file."""

MAX_WEBP_PIXELS = 50_000_000
"""Maximum number of pixels of a WebP file; its decoder keeps three copies."""


def webp_pixels(data: bytes) -> int:
    """Returns the number of pixels in the header of a WebP file; 0 for all other files.

    The decoder allocates their memory when it opens a file.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return 0
    match data[12:16]:
        case b"VP8X":
            width, height = (int.from_bytes(data[start : start + 3], "little") + 1 for start in (24, 27))
        case b"VP8 ":
            width, height = (int.from_bytes(data[start : start + 2], "little") & 0x3FFF for start in (26, 28))
        case b"VP8L":
            sizes = int.from_bytes(data[21:25], "little")
            width, height = (sizes & 0x3FFF) + 1, (sizes >> 14 & 0x3FFF) + 1
        case _:
            return 0
    return width * height
