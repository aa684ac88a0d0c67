"""Image files that already fit: their bytes are kept, without metadata.

A file is split into its segments or chunks, and those that its pixels need are put together again (ITU-T T.81
for JPEG). Anything unusual is left to `pipeline.ingest.prepare`, which encodes it again or refuses it with a
reason. Damage within a segment is left to the decoder, through which `prepare` sends every file that is kept.
"""

import struct
import zlib
from dataclasses import dataclass, field

import numpy as np

MIN_SIDE = 8
MAX_PIXELS = 100_000_000
MAX_SCANS = 100
"""Maximum number of scans of a JPEG. Encoders write about ten; each further one makes the decoder visit every
block once more."""
LOSSLESS_UP_TO = 64
"""Pixels of the shorter side up to which PNG is used: small images suffer from JPEG and gain little."""


@dataclass(frozen=True, slots=True)
class PassedThrough:
    """An image file with the pixels of the original, if these are sound."""

    encoded: bytes
    width: int
    height: int


class Unsupported(ValueError):
    """Raised for a file that cannot be passed through."""


def fits(width: int, height: int, size: int) -> bool:
    return MIN_SIDE <= min(width, height) <= size and width * height <= MAX_PIXELS


# --- JPEG ---------------------------------------------------------------------------------------------------

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
END, SCAN, QUANTIZATION, HUFFMAN, RESTARTS = 0xD9, 0xDA, 0xDB, 0xC4, 0xDD
FRAMES = (0xC0, 0xC1, 0xC2)
"""Baseline, extended and progressive frames, with Huffman codes."""
JFIF, APP1, ADOBE, COMMENT = 0xE0, 0xE1, 0xEE, 0xFE
ORIENTATION_TAG, SHORT = 0x0112, 3
FIRST_RESTART, LAST_RESTART = 0xD0, 0xD7
WINDOW = 1 << 17
"""Number of bytes that are searched at once for the end of entropy-coded data."""


def kept_jpeg(data: bytes, size: int) -> PassedThrough | None:
    """Returns the JPEG without metadata and trailing data; None if it must be encoded again.

    It is kept if its shorter side is at most `size` pixels and more than `LOSSLESS_UP_TO`, and it has 8 bits,
    three components and Huffman codes, and is upright and complete.
    """
    if not data.startswith(SOI):
        return None
    try:
        reader = _JpegReader(data, size)
        encoded = reader.read()
    except (Unsupported, IndexError):
        return None
    return PassedThrough(encoded, reader.width, reader.height)


@dataclass(slots=True)
class _JpegReader:
    data: bytes
    size: int
    width: int = 0
    height: int = 0
    restarts: bool = False
    scans: int = 0
    seen: set[int] = field(default_factory=set)
    """Markers of segments that are required, or may occur only once."""

    def read(self) -> bytes:
        data, position = self.data, 2
        kept = [SOI]
        while True:
            if data[position] != 0xFF:
                raise Unsupported("no marker")
            marker = data[position + 1]
            if marker == END:
                break
            start = position + 4
            stop = position + 2 + (data[position + 2] << 8 | data[position + 3])
            if stop < start or stop > len(data):
                raise Unsupported("a wrong length")
            if marker == SCAN:
                self.scans += 1
                end = self._end_of_data(stop)
                if end <= stop:
                    raise Unsupported("no data, or no end of it")
                stop = end
                kept.append(data[position:stop])
            elif (segment := self._segment(marker, data[start:stop])) is not None:
                kept.append(b"\xff%c%b%b" % (marker, (len(segment) + 2).to_bytes(2, "big"), segment))
            position = stop
        encoded = b"".join([*kept, EOI])
        if not self.scans or not self.seen >= {QUANTIZATION, HUFFMAN} or not self.width:
            raise Unsupported("no pixels, or not all that they need")
        if self.scans > MAX_SCANS or len(encoded) > 65536 + 6 * self.width * self.height:
            raise Unsupported("more than such an image can need")
        return encoded

    def _end_of_data(self, start: int) -> int:
        """Returns where entropy-coded data that begin at `start` end; -1 if they do not.

        In them 0xff is followed by 0x00, or is a restart marker if the file declares restarts.
        """
        data = self.data
        while start + 1 < len(data):
            # One byte more than a window, so that no pair is cut.
            byte_L = np.frombuffer(data, np.uint8, min(WINDOW + 1, len(data) - start), start)
            follows_L = byte_L[1:]
            ends_L = (byte_L[:-1] == 0xFF) & (follows_L != 0)
            if self.restarts:
                ends_L &= (follows_L < FIRST_RESTART) | (follows_L > LAST_RESTART)
            first = int(ends_L.argmax())
            if ends_L[first]:
                return start + first
            start += WINDOW
        return -1

    def _segment(self, marker: int, content: bytes) -> bytes | None:
        """Returns what is kept of a segment; None if it is dropped."""
        if marker in (QUANTIZATION, HUFFMAN):
            self.seen.add(marker)
        elif marker in FRAMES:
            self._once(FRAMES[0], _is_usual(content))
            self.height, self.width = struct.unpack_from(">HH", content, 1)
            if not fits(self.width, self.height, self.size) or min(self.width, self.height) <= LOSSLESS_UP_TO:
                raise Unsupported("another size")
        elif marker == RESTARTS:
            self.restarts = content != b"\0\0"
        elif marker == JFIF and content.startswith(b"JFIF\0"):
            self._once(marker, len(content) >= 14)
            return content[:12] + b"\0\0"
        elif marker == ADOBE and content.startswith(b"Adobe"):
            self._once(marker, len(content) >= 12)
            return content[:12]
        elif marker == APP1:
            if content.startswith(b"Exif"):
                self._once(marker, _is_upright(content))
            if b"Orientation" in content:
                raise Unsupported("an orientation in XMP")
            return None
        elif JFIF <= marker <= 0xEF or marker == COMMENT:
            return None
        else:
            raise Unsupported("another marker")
        return content

    def _once(self, marker: int, sound: bool) -> None:
        if marker in self.seen or not sound:
            raise Unsupported("twice, or damaged")
        self.seen.add(marker)


def _is_usual(frame: bytes) -> bool:
    """Returns whether a frame has 8 bits and three components.

    The components' sides must be whole fractions of the largest one's.
    """
    if len(frame) != 15 or frame[0] != 8 or frame[5] != 3 or len(set(frame[6::3])) != 3:
        return False
    factors = [[sampling >> 4 for sampling in frame[7::3]], [sampling & 15 for sampling in frame[7::3]]]
    return all(1 <= factor <= 4 and max(side) % factor == 0 for side in factors for factor in side)


def _is_upright(exif: bytes) -> bool:
    """Returns whether the EXIF data are sound and do not turn the image.

    Sound data without an orientation do not.
    """
    tiff = exif[6:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if not exif.startswith(b"Exif\0\0") or order is None or len(tiff) < 10:
        return False
    (offset,) = struct.unpack_from(order + "I", tiff, 4)
    if not 8 <= offset <= len(tiff) - 2:
        return False
    (count,) = struct.unpack_from(order + "H", tiff, offset)
    if offset + 2 + 12 * count > len(tiff):
        return False
    for entry in range(offset + 2, offset + 2 + 12 * count, 12):
        tag, kind, values, value = struct.unpack_from(order + "HHIH", tiff, entry)
        if tag == ORIENTATION_TAG and (kind, values) != (SHORT, 1):
            return False
        # Cameras that do not know the orientation write zero.
        if tag == ORIENTATION_TAG and value not in (0, 1):
            return False
    return True


# --- PNG ----------------------------------------------------------------------------------------------------

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
# Chunks that change what is seen, or hold further pictures.
CHANGING_CHUNKS = {b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf"}
# Texts in which Pillow looks for an orientation.
ORIENTING_TEXTS = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0", b"exif\0")


PROFILE_AND_TEXTS = {b"iCCP", b"tEXt", b"zTXt", b"iTXt"}


def without_texts(data: bytes) -> bytes:
    """Removes the colour profile and texts of a PNG, except those that may define its orientation.

    Symptom: Pillow refuses a sound picture. Cause: it unpacks at most `PngImagePlugin.MAX_TEXT_CHUNK` bytes
    of each of these, and editors write larger ones. None of them are stored in any case. Other data stay as
    they are, damaged data included.
    """
    if not data.startswith(PNG_SIGNATURE):
        return data
    kept, position, begin = [], len(PNG_SIGNATURE), 0
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        stop = position + 12 + length
        if stop > len(data) or kind == b"IEND":
            break
        if kind in PROFILE_AND_TEXTS and not data.startswith(ORIENTING_TEXTS, position + 8):
            kept.append(data[begin:position])
            begin = stop
        position = stop
    return b"".join([*kept, data[begin:]]) if kept else data


def kept_png(data: bytes, size: int) -> PassedThrough | None:
    """Returns the PNG with only its header and pixels; None if it must be decoded.

    It is kept if its shorter side is at most `size` and `LOSSLESS_UP_TO` pixels, with 8-bit red, green and
    blue, no transparency, and correct checksums. Its pixels stay compressed: only decoding shows that they
    are complete.
    """
    if not data.startswith(PNG_SIGNATURE):
        return None
    try:
        return _kept_png(data, size)
    except (Unsupported, struct.error):
        return None


def _kept_png(data: bytes, size: int) -> PassedThrough:
    kept: list[bytes] = [PNG_SIGNATURE]
    position, width, height, packed, closed = 8, 0, 0, 0, False
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        content = data[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, position + 8 + length)
        if zlib.crc32(content, zlib.crc32(kind)) != checksum:
            raise Unsupported("a checksum")
        whole = data[position : position + 12 + length]
        position += 12 + length
        if (kind == b"IHDR") != (not width):
            raise Unsupported("the header is not where it must be")
        if kind == b"IHDR":
            width, height = _png_size(content, size)
            kept.append(whole)
        elif kind == b"IDAT":
            if closed:
                raise Unsupported("pixels in two places")
            kept.append(whole)
            packed += length
        elif kind == b"IEND":
            kept.append(PNG_END)
            break
        else:
            closed = packed > 0
            if kind in CHANGING_CHUNKS or content.startswith(ORIENTING_TEXTS):
                raise Unsupported("more than pixels")
            if kind[:1].isupper() and kind != b"PLTE":
                raise Unsupported("an unknown chunk that may not be left out")
    if not packed or packed > 65536 + 6 * width * height:
        raise Unsupported("fewer or more bytes than the pixels need")
    return PassedThrough(b"".join(kept), width, height)


def _png_size(header: bytes, size: int) -> tuple[int, int]:
    width, height, bits, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", header)
    if (bits, colour, compression, filtering) != (8, 2, 0, 0) or interlace > 1:
        raise Unsupported("another format")
    if not fits(width, height, size) or min(width, height) > LOSSLESS_UP_TO:
        raise Unsupported("another size")
    return width, height
