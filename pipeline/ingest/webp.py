"""The header of a WebP file."""

MAX_WEBP_PIXELS = 50_000_000
"""Its decoder keeps three copies."""


def webp_pixels(data: bytes) -> int:
    """What a WebP file says of its size; 0 for all other files. Its decoder makes room when it opens them."""
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
