"""Small files that cost a decoder much, the worst of each kind that was found."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def bmp_of_line_ends() -> bytes:
    """41 kB: ten thousand lines of one pixel each, which Pillow fills up with zeros one after the other."""
    side, runs = 9990, b"\x01\x00\x00\x00" * 9990
    start = 14 + 40 + 1024
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + header + bytes(1024) + runs


def jpeg_of_scans() -> bytes:
    """14 kB: a hundred scans, each of which visits every coefficient of 100 million pixels."""
    side, codes = 9992, -(-((9992 // 8) ** 2) // 32767)
    bits = ("0" + "1" * 14) * codes  # "the next 32,767 blocks have nothing new"
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    frame = struct.pack(">BHHB", 8, side, side, 3) + bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])
    scans = [_segment(0xDA, bytes([1, 1 + n % 3, 0, 1, 63, 0x10])) + data for n in range(100)]
    tables = _segment(0xDB, bytes([0, *[1] * 64])) + _segment(0xC4, bytes([0x10, 1, *[0] * 15, 0xE0]))
    return b"\xff\xd8" + tables + _segment(0xC2, frame) + b"".join(scans) + b"\xff\xd9"


def jpeg_of_fill_bytes() -> bytes:
    """21 MB: what may stand before a marker, which Pillow reads one by one."""
    buffer = io.BytesIO()
    Image.new("RGB", (100, 80)).save(buffer, "JPEG")
    plain = buffer.getvalue()
    scan = plain.index(b"\xff\xda")
    return plain[:scan] + b"\xff" * 21_000_000 + plain[scan:]


def tiff_of_damaged_lines(lines: int) -> bytes:
    """A fax of 16 pixels a line, for each of which libtiff prints that it is damaged."""
    data = np.random.default_rng(0).bytes(lines)
    tags = {
        256: 16,
        257: lines,
        258: 1,
        259: 2,
        262: 0,
        273: 8 + 2 + 12 * 9 + 4,
        277: 1,
        278: lines,
        279: lines,
    }
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def tiff_of_one_tile() -> bytes:
    """1.2 MB: 16 x 16 pixels in a tile of 20,500 x 20,500, 1.26 GB once it is unpacked."""
    side = 20_500
    packer = zlib.compressobj()
    data = b"".join([*(packer.compress(bytes(side * 3)) for _ in range(side)), packer.flush()])
    tags = [(256, 16), (257, 16), (258, 8), (259, 8), (262, 2), (277, 3), (322, side), (323, side)]
    tags += [(324, 8 + 2 + 12 * 10 + 4), (325, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


COSTLY = {
    "line-ends.bmp": bmp_of_line_ends,
    "scans.jpg": jpeg_of_scans,
    "fill-bytes.jpg": jpeg_of_fill_bytes,
    "one-tile.tif": tiff_of_one_tile,
}
