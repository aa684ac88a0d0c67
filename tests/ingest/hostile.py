"""Files that strangers might send, made on the spot, each with what must become of it."""

import io
import os
import socket
import stat
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from support import png

TAKEN = None
"""Instead of a reason: the image is used."""


@dataclass(frozen=True)
class Case:
    make: Callable[[Path], None]
    reason: str | None
    """A pattern that the refusal's reason matches, or `TAKEN`."""


def of(content: bytes | Callable[[], bytes], reason: str | None) -> Case:
    def make(path: Path) -> None:
        path.write_bytes(content if isinstance(content, bytes) else content())

    return Case(make, reason)


def picture(width: int = 90, height: int = 70, mode: str = "RGB") -> Image.Image:
    small = np.random.default_rng(5).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# --- JPEG ---------------------------------------------------------------------------------------------------

JPEG = encoded(picture(), "JPEG", quality=90)
PROGRESSIVE = encoded(picture(), "JPEG", progressive=True)
GPS = b"\x33\0\0\0"


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def with_segments(*segments: bytes) -> bytes:
    return JPEG[:20] + b"".join(segments) + JPEG[20:]


def oriented(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture(), "JPEG", exif=exif)


def with_gps() -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (51.0, 30.0, 26.0), 3: "W", 4: (0.0, 7.0, 39.0)})
    return encoded(picture(), "JPEG", exif=exif)


def with_size(jpeg: bytes, width: int, height: int) -> bytes:
    frame = jpeg.index(b"\xff\xc0")
    return jpeg[: frame + 5] + struct.pack(">HH", height, width) + jpeg[frame + 9 :]


def many_scans() -> bytes:
    start = PROGRESSIVE.rindex(b"\xff\xda")
    return PROGRESSIVE[:start] + PROGRESSIVE[start:-2] * 2000 + PROGRESSIVE[-2:]


def large_and_many_scans() -> bytes:
    """9,900 x 9,900 pixels, each visited ninety times by scans of a few bytes."""
    frame = PROGRESSIVE.index(b"\xff\xc2")
    large = bytearray(PROGRESSIVE)
    large[frame + 5 : frame + 9] = struct.pack(">HH", 9900, 9900)
    start = PROGRESSIVE.rindex(b"\xff\xda")
    return bytes(large[:start]) + bytes(large[start:-2]) * 85 + b"\xff\xd9"


# --- PNG ----------------------------------------------------------------------------------------------------


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width: int, height: int, bits: int = 8, colour: int = 2) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    )


def with_chunks(*chunks: bytes) -> bytes:
    plain = png(1, 40, 30)
    return plain[:33] + b"".join(chunks) + plain[33:]


def zeros(length: int) -> bytes:
    """Packed, without holding them in memory."""
    packer = zlib.compressobj(1)
    million = bytes(1_000_000)
    packed = [packer.compress(million) for _ in range(length // 1_000_000)]
    packed.append(packer.compress(bytes(length % 1_000_000)))
    return b"".join([*packed, packer.flush()])


def black_png(width: int, height: int, bits: int, colour: int, channels: int) -> bytes:
    data = zeros(height * (width * channels * bits // 8 + 1))
    return header(width, height, bits, colour) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bad_checksum() -> bytes:
    damaged = bytearray(png(1, 40, 30))
    damaged[29] ^= 1
    return bytes(damaged)


# --- other formats ------------------------------------------------------------------------------------------


def animated(kind: str) -> bytes:
    return encoded(picture(40, 30), kind, save_all=True, append_images=[picture(40, 30).rotate(90)])


def huge_webp() -> bytes:
    """A small lossy image whose container says 16,383 x 16,383."""
    inner = encoded(picture(16, 16), "WEBP")[12:]
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + (16382).to_bytes(3, "little") * 2
    return b"RIFF" + struct.pack("<I", 4 + len(canvas + inner)) + b"WEBP" + canvas + inner


def huge_animation(side: int) -> bytes:
    inner = animated("WEBP")
    place = inner.index(b"VP8X") + 12
    return inner[:place] + (side - 1).to_bytes(3, "little") * 2 + inner[place + 6 :]


def huge_simple() -> bytes:
    """A lossy image without a container, which says 16,383 x 16,383 in its frame."""
    inner = encoded(picture(16, 16), "WEBP")
    place = inner.index(b"\x9d\x01\x2a") + 3
    return inner[:place] + struct.pack("<HH", 16383, 16383) + inner[place + 4 :]


def huge_lossless() -> bytes:
    inner = encoded(picture(16, 16), "WEBP", lossless=True)
    place = inner.index(b"VP8L") + 9
    return inner[:place] + (9899 | 9899 << 14).to_bytes(4, "little") + inner[place + 4 :]


def bmp(width: int, height: int, bits: int = 24, offset: int = 54, compression: int = 0) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, offset) + info + bytes(16 * 16 * 3)


def tiff(entries: list[tuple[int, int, int, int]], next_directory: int = 0) -> bytes:
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + body + struct.pack("<I", next_directory)


def raw_tiff(width: int, height: int, *more: tuple[int, int, int, int], next_directory: int = 0) -> bytes:
    basic = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    strips = [(273, 4, 1, 500), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, width * height)]
    entries = sorted({entry[0]: entry for entry in [*basic, *strips, *more]}.values())
    content = tiff(entries, next_directory)
    return content.ljust(500, b"\0") + bytes(range(256)) * 4


def samples_16() -> bytes:
    """Red, green and blue of 16 bits."""
    content = raw_tiff(16, 16, (258, 3, 3, 400), (262, 3, 1, 2), (277, 3, 1, 3), (279, 4, 1, 16 * 16 * 6))
    return content[:400] + struct.pack("<HHH", 16, 16, 16) + content[406:] + bytes(4096)


TGA = b"\0\0\2\0\0\0\0\0\0\0\0\0" + struct.pack("<HH", 16, 16) + b"\x18\0" + bytes(16 * 16 * 3)
SVG = b'<?xml version="1.0"?>\n<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>'
MANY_PIXELS = "more than 100 million pixels"
DAMAGED = "damaged|truncated"

FILES: dict[str, Case] = {
    "empty.jpg": of(b"", "an empty file"),
    "text.jpg": of(b"GIF or not, this is text", "not an image"),
    "pointer.jpg": of(b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    "denied.jpg": of(b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "a message of XML"),
    "page.jpg": of(b"\n<!-- cached --><HTML lang='en'><body>Not found", "a page of HTML"),
    "zeros.jpg": of(bytes(5000), "not an image"),
    "html.png": of(b"<!doctype html><script>alert(1)</script>", "a page of HTML"),
    "png-called.jpg": of(png(1, 40, 30), TAKEN),
    "jpeg-called.png": of(JPEG, TAKEN),
    "jpeg-called.txt": of(JPEG, TAKEN),
    # JPEG
    "truncated.jpg": of(JPEG[:-400], "truncated image"),
    "header-alone.jpg": of(JPEG[: JPEG.index(b"\xff\xda")], DAMAGED),
    "start-alone.jpg": of(b"\xff\xd8\xff", DAMAGED),
    "gray.jpg": of(lambda: encoded(picture(mode="L"), "JPEG"), TAKEN),
    "four-inks.jpg": of(lambda: encoded(picture(mode="CMYK"), "JPEG"), TAKEN),
    "gps.jpg": of(with_gps, TAKEN),
    **{f"orientation-{n}.jpg": of(lambda n=n: oriented(n), TAKEN) for n in range(1, 9)},  # type: ignore[misc]
    "orientation-200.jpg": of(lambda: oriented(200), TAKEN),
    "large-exif.jpg": of(lambda: with_segments(*[segment(0xE1, b"Exif\0\0" + bytes(65000))] * 200), TAKEN),
    "exif-loop.jpg": of(
        with_segments(segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\1\0\0\0\x08\0\0\0")),
        TAKEN,
    ),
    "bomb.jpg": of(lambda: with_size(JPEG, 65000, 65000), MANY_PIXELS),
    "wrong-size.jpg": of(lambda: with_size(JPEG, 90, 700), TAKEN),
    "no-size.jpg": of(lambda: with_size(JPEG, 0, 0), DAMAGED),
    "length-zero.jpg": of(JPEG[:20] + b"\xff\xe5\0\0" + JPEG[20:], TAKEN),
    "length-beyond.jpg": of(JPEG[:20] + b"\xff\xe5\xff\xff" + JPEG[20:], DAMAGED),
    "frame-too-short.jpg": of(JPEG.replace(b"\xff\xc0\0\x11", b"\xff\xc0\0\x08"), DAMAGED),
    "arithmetic.jpg": of(JPEG.replace(b"\xff\xc0\0\x11", b"\xff\xc9\0\x11"), TAKEN),
    "many-scans.jpg": of(many_scans, "more than 100 scans"),
    "large-and-many-scans.jpg": of(large_and_many_scans, TAKEN),
    "zip-behind.jpg": of(JPEG + b"PK\x03\x04" + b"payload" * 100, TAKEN),
    "script-inside.jpg": of(lambda: with_segments(segment(0xFE, b"<?php system($_GET[0]); ?>")), TAKEN),
    "second-picture-behind.jpg": of(JPEG + JPEG, TAKEN),
    "no-tables.jpg": of(lambda: JPEG[:20] + JPEG[JPEG.index(b"\xff\xc0") :], DAMAGED),
    "one-pixel-wide.jpg": of(lambda: encoded(picture(1, 20000), "JPEG"), "a side is shorter than 8 pixels"),
    "strip.jpg": of(lambda: encoded(picture(8, 20000), "JPEG"), TAKEN),
    # PNG
    "alpha.png": of(lambda: encoded(picture(mode="RGBA"), "PNG"), TAKEN),
    "gray-16-bits.png": of(lambda: encoded(Image.fromarray(np.full((30, 30), 999, np.uint16)), "PNG"), TAKEN),
    "palette.png": of(lambda: encoded(picture(mode="P"), "PNG", transparency=3), TAKEN),
    "bad-checksum.png": of(bad_checksum, DAMAGED),
    "truncated.png": of(png(1, 40, 30)[:900], DAMAGED),
    "no-pixels.png": of(header(40, 30) + chunk(b"IEND", b""), DAMAGED),
    "bomb.png": of(header(50000, 50000) + chunk(b"IDAT", b"x") + chunk(b"IEND", b""), MANY_PIXELS),
    "no-size.png": of(header(0, 40) + chunk(b"IDAT", b"x") + chunk(b"IEND", b""), f"{DAMAGED}|shorter"),
    "profile-bomb.png": of(lambda: with_chunks(chunk(b"iCCP", b"a\0\0" + zeros(500_000_000))), TAKEN),
    "text-bomb.png": of(lambda: with_chunks(chunk(b"zTXt", b"a\0\0" + zeros(500_000_000))), TAKEN),
    "xmp-bomb.png": of(
        lambda: with_chunks(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zeros(500_000_000))),
        "XMP or EXIF",
    ),
    "pixel-bomb.png": of(
        lambda: header(40, 30) + chunk(b"IDAT", zeros(500_000_000)) + chunk(b"IEND", b""), TAKEN
    ),
    "large.png": of(lambda: black_png(9990, 9990, 8, 2, 3), TAKEN),
    "large-alpha.png": of(lambda: black_png(9990, 9990, 8, 6, 4), TAKEN),
    "large-16-bits.png": of(lambda: black_png(9990, 9990, 16, 0, 1), TAKEN),
    "chunk-beyond.png": of(png(1, 40, 30)[:33] + struct.pack(">I", 2**31) + b"tEXt" + b"x" * 99, DAMAGED),
    "zip-behind.png": of(png(1, 40, 30) + b"PK\x03\x04payload", TAKEN),
    "animated.png": of(lambda: animated("PNG"), TAKEN),
    # others
    "animated.gif": of(lambda: animated("GIF"), TAKEN),
    "bomb.gif": of(b"GIF89a\xff\xff\xff\xff\0\0\0" + b",\0\0\0\0\xff\xff\xff\xff\0\x08\0;", MANY_PIXELS),
    "script.gif": of(b"GIF89a/*" + bytes(9) + b"*/=1;alert(1)", DAMAGED),
    "truncated.gif": of(lambda: encoded(picture(mode="P"), "GIF")[:300], DAMAGED),
    "no-picture.gif": of(b"GIF89a\x10\0\x10\0\0\0\0;", DAMAGED),
    "animated.webp": of(lambda: animated("WEBP"), TAKEN),
    "alpha.webp": of(lambda: encoded(picture(mode="RGBA"), "WEBP", lossless=True), TAKEN),
    "truncated.webp": of(lambda: encoded(picture(), "WEBP")[:200], DAMAGED),
    "bomb.webp": of(huge_webp, "a WebP of more than 50 million pixels"),
    "bomb-animation.webp": of(lambda: huge_animation(10_000), "a WebP of more than 50 million pixels"),
    "large-animation.webp": of(lambda: huge_animation(7_000), TAKEN),
    "bomb-simple.webp": of(huge_simple, "a WebP of more than 50 million pixels"),
    "bomb-lossless.webp": of(huge_lossless, "a WebP of more than 50 million pixels"),
    "upside-down.bmp": of(bmp(16, -16), TAKEN),
    "bomb.bmp": of(bmp(40000, 40000), MANY_PIXELS),
    "no-size.bmp": of(bmp(0, 0), f"{DAMAGED}|shorter"),
    "pixels-beyond.bmp": of(bmp(16, 16, offset=99999), DAMAGED),
    "truncated-runs.bmp": of(bmp(16, 16, bits=8, compression=1), f"{DAMAGED}|rare"),
    "odd-bits.bmp": of(bmp(16, 16, bits=7), f"{DAMAGED}|rare"),
    "float.tif": of(lambda: encoded(Image.fromarray(np.full((20, 20), 0.5, np.float32)), "TIFF"), TAKEN),
    "not-a-number.tif": of(
        lambda: encoded(Image.fromarray(np.full((20, 20), np.nan, np.float32)), "TIFF"),
        "no pixel holds a value",
    ),
    "four-inks.tif": of(lambda: encoded(picture(mode="CMYK"), "TIFF"), TAKEN),
    "16-bits-a-colour.tif": of(samples_16, TAKEN),
    "directory-loop.tif": of(lambda: raw_tiff(16, 16, next_directory=8), TAKEN),
    "many-values.tif": of(lambda: raw_tiff(16, 16, (700, 1, 2**31, 8)), TAKEN),
    "bomb.tif": of(lambda: raw_tiff(60000, 60000), MANY_PIXELS),
    "strip-beyond.tif": of(lambda: raw_tiff(16, 16, (273, 4, 1, 10**8)), DAMAGED),
    "truncated.tif": of(lambda: encoded(picture(), "TIFF", compression="tiff_lzw")[:2000], f"{DAMAGED}|rare"),
    "plain.ppm": of(lambda: encoded(picture(), "PPM"), TAKEN),
    "icon.ico": of(lambda: encoded(picture(32, 32), "ICO"), "the format ICO, which is not read"),
    "picture.tga": of(TGA, "not an image"),
    "layers.psd": of(b"8BPS\0\1" + bytes(6) + b"\0\3" + bytes(30), "the format PSD"),
    "script.eps": of(b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd)(r)file", "the format EPS"),
    "document.pdf": of(b"%PDF-1.7\n%%EOF", "the format PDF"),
    "entity.svg": of(SVG, "not an image|the format SVG"),
    "phone.heic": of(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "the format HEIF"),
    "browser.avif": of(b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "the format AVIF"),
    "telescope.fits": of(b"SIMPLE  =                    T".ljust(80) + b"END".ljust(2800), "the format FITS"),
}  # fmt: skip


# --- what is no file ----------------------------------------------------------------------------------------


def socket_file(path: Path) -> None:
    # The path of a socket may not be longer than some hundred bytes.
    before = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(before)


def device(path: Path) -> None:
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    """Four gigabytes that take no room."""
    path.write_bytes(b"RIFF\xff\xff\xff\xffWEBP")
    os.truncate(path, 4 << 30)


def forbidden(path: Path) -> None:
    path.write_bytes(JPEG)
    path.chmod(0)


PLACES: dict[str, Case] = {
    "folder.jpg": Case(lambda path: path.mkdir(), "a folder, not a file"),
    "pipe.jpg": Case(os.mkfifo, "a pipe, socket or device"),
    "socket.jpg": Case(socket_file, "a pipe, socket or device"),
    "zero.jpg": Case(device, "a pipe, socket or device|leads out"),
    "endless.jpg": Case(lambda path: path.symlink_to("/dev/zero"), "a pipe, socket or device|leads out"),
    "dangling.jpg": Case(lambda path: path.symlink_to("nowhere.jpg"), "does not exist"),
    "circle.jpg": Case(lambda path: path.symlink_to(path.name), "can't be read|does not exist|leads out"),
    "sparse.webp": Case(sparse, "a file of more than 128 MiB"),
    "forbidden.jpg": Case(forbidden, "no permission to read the file" if os.geteuid() else TAKEN),
    "absent.jpg": Case(lambda path: None, "does not exist"),
}
