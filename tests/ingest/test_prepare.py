"""One image in, one checked image or one true reason out."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.ingest.prepare import ImageRefused, prepare_image
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
