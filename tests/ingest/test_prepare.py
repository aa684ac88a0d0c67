"""One image in, one checked image or one true reason out."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from pipeline.ingest.decoding import ImageRefused
from pipeline.ingest.prepare import prepare_image
from support import png


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(image: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image)))


def test_a_small_image_keeps_its_pixels() -> None:
    original = png(1, 20, 14)
    prepared = prepare_image(original, 32)
    assert (prepared.width, prepared.height) == (20, 14)
    np.testing.assert_array_equal(decoded(prepared.encoded), decoded(original))
    unit = decoded(original).reshape(-1, 3) / 255
    assert prepared.channel_sums is not None
    np.testing.assert_allclose(prepared.channel_sums, [unit.sum(0), (unit**2).sum(0)])


def test_the_shorter_side_is_scaled_down_and_the_shape_kept() -> None:
    prepared = prepare_image(png(1, 300, 200), 32)
    assert (prepared.width, prepared.height) == (48, 32)


def test_large_images_become_jpeg_of_high_quality() -> None:
    gradient = np.tile(np.linspace(0, 255, 200, dtype=np.uint8)[:, None, None], (1, 200, 3))
    prepared = prepare_image(encoded(Image.fromarray(gradient), "PNG"), 128)
    assert prepared.encoded[:2] == b"\xff\xd8"
    expected = np.asarray(Image.fromarray(gradient).resize((128, 128), Image.Resampling.BICUBIC), np.int64)
    assert np.abs(decoded(prepared.encoded) - expected).mean() < 1.5


def test_orientation_is_applied_and_metadata_removed() -> None:
    left_dark = Image.fromarray(np.repeat(np.array([[0, 255]], np.uint8), 20, axis=0).repeat(10, axis=1))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by 90 degrees to view
    exif[0x010F] = "a camera's maker"
    prepared = prepare_image(encoded(left_dark.convert("RGB"), "JPEG", exif=exif, quality=95), 32)
    upright = decoded(prepared.encoded)
    assert upright[:8].mean() < 20
    assert upright[-8:].mean() > 235
    assert not Image.open(io.BytesIO(prepared.encoded)).getexif()
    assert b"camera" not in prepared.encoded


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((12, 12), 200 * 257, np.uint16))
    else:
        image = Image.new("RGB", (12, 12), (200, 200, 200)).convert(mode, palette=Image.Palette.ADAPTIVE)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    pixels = decoded(prepare_image(encoded(image, kind), 32).encoded)
    assert pixels.shape == (12, 12, 3)
    assert (np.abs(pixels.astype(int) - 200) <= 8).all()


def test_transparency_shows_white() -> None:
    clear = Image.new("RGBA", (12, 12), (0, 0, 0, 0))
    assert decoded(prepare_image(encoded(clear, "PNG"), 32).encoded).min() == 255


def test_equal_pixels_have_equal_hashes_whatever_the_file() -> None:
    image = Image.fromarray(decoded(png(3)))
    hashes = {prepare_image(encoded(image, kind), 32).content_hash for kind in ("PNG", "BMP", "TIFF")}
    assert len(hashes) == 1
    assert prepare_image(png(4), 32).content_hash not in hashes


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an image"),
        (b"plain text", "not an image"),
        (png(1, 60, 60)[:2000], "truncated image"),
        (png(1, 400, 4), "a side is shorter than 8 pixels"),
    ],
)
def test_refusals(content: bytes, reason: str) -> None:
    with pytest.raises(ImageRefused, match=reason):
        prepare_image(content, 32)


def test_a_flipped_byte_in_a_png_is_noticed() -> None:
    damaged = bytearray(png(1, 60, 60))
    damaged[3000] ^= 0xFF
    with pytest.raises(ImageRefused):
        prepare_image(bytes(damaged), 32)


def test_paths_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ImageRefused, match="the file does not exist"):
        prepare_image(tmp_path / "absent.png", 32)
    with pytest.raises(ImageRefused, match="a folder, not a file"):
        prepare_image(tmp_path, 32)


# --- texts of PNG -------------------------------------------------------------------------------------------

LARGE = 2_000_000
"""Bytes, unpacked: more than Pillow takes by itself."""
_EXIF = Image.Exif()
_EXIF[0x0112] = 6
TURNED = _EXIF.tobytes()
"""EXIF: turn right by 90 degrees to view."""
XMP = b"XML:com.adobe.xmp\0\1\0\0\0"


def with_chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG, dark on its left half, that must be scaled down."""
    picture = encoded(
        Image.fromarray(np.repeat([[[0] * 3, [255] * 3]], 100, 0).repeat(50, 1).astype(np.uint8)), "PNG"
    )
    checksum = zlib.crc32(kind + content).to_bytes(4, "big")
    return picture[:33] + len(content).to_bytes(4, "big") + kind + content + checksum + picture[33:]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (b"iCCP", b"icc\0\0" + zlib.compress(bytes(LARGE))),
        (b"zTXt", b"Raw profile type xmp\0\0" + zlib.compress(b"<x/>" * LARGE)),
        (b"iTXt", b"Description\0\1\0\0\0" + zlib.compress(bytes(50 * LARGE))),
        (b"iTXt", XMP + zlib.compress(b"<x/>" * (LARGE // 4))),
        (b"tEXt", b"Comment\0" + b"x" * 80_000_000),
    ],
    ids=["profile", "raw xmp", "description", "xmp", "comment"],
)
def test_large_profiles_and_texts_do_not_make_a_png_damaged(kind: bytes, content: bytes) -> None:
    prepared = prepare_image(with_chunk(kind, content), 32)
    assert (prepared.width, prepared.height) == (32, 32)
    assert prepared.encoded == prepare_image(with_chunk(b"tEXt", b"Comment\0x"), 32).encoded


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (b"iTXt", XMP + zlib.compress(b" " * LARGE + b'tiff:Orientation="6"')),
        (
            b"zTXt",
            b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n      32\n" + TURNED.hex().encode()),
        ),
        (b"eXIf", TURNED[6:]),
    ],
    ids=["xmp", "raw exif", "exif"],
)
def test_texts_that_say_which_side_is_up_are_read(kind: bytes, content: bytes) -> None:
    upright = decoded(prepare_image(with_chunk(kind, content), 32).encoded)
    assert upright[:12].mean() < 20
    assert upright[-12:].mean() > 235


def test_a_text_beyond_the_limit_is_refused_by_its_true_reason() -> None:
    with pytest.raises(ImageRefused, match="XMP or EXIF texts of more than 8 MiB: save it anew without"):
        prepare_image(with_chunk(b"iTXt", XMP + zlib.compress(bytes(9 << 20))), 32)


@pytest.mark.parametrize("size", [32, 90])
def test_neither_profile_nor_comment_is_stored(size: int) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    original = encoded(Image.new("RGB", (120, 100), "red"), "JPEG", icc_profile=profile, comment="private")
    stored = Image.open(io.BytesIO(prepare_image(original, size).encoded))
    assert not {"icc_profile", "comment", "exif"} & stored.info.keys()
