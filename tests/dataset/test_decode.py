"""A stored image is decoded as Pillow decodes the whole file."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from pipeline.dataset import decode as stored_image
from pipeline.dataset.decode import decoded
from pipeline.ingest.prepare import prepare_image
from support import png


def by_pillow(encoded: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB"))


def image_of(seed: int, width: int, height: int, mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    smooth = np.add.outer(np.arange(height), np.arange(width))[..., None].astype(np.uint8)
    return Image.fromarray(noise if seed % 2 else np.repeat(smooth, 3, axis=2)).convert(mode)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@given(seed=st.integers(0, 99), width=st.integers(1, 70), height=st.integers(1, 70), level=st.integers(0, 9))
def test_plain_png(seed: int, width: int, height: int, level: int) -> None:
    encoded = saved(image_of(seed, width, height), "PNG", compress_level=level)
    assert stored_image._plain_png(encoded) is not None
    np.testing.assert_array_equal(decoded(encoded), by_pillow(encoded))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_pixels_in_several_chunks_and_interlaced() -> None:
    encoded = saved(image_of(1, 200, 150), "PNG")  # 90 kB of noise: Pillow writes two chunks
    assert encoded.count(b"IDAT") == 2
    np.testing.assert_array_equal(decoded(encoded), by_pillow(encoded))
    # One pixel is in the first of the seven passes.
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 1)
    rows = zlib.compress(bytes([0, 10, 20, 30]))
    interlaced = b"".join(
        [stored_image.PNG_SIGNATURE, chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    )
    assert stored_image._plain_png(interlaced) is not None
    assert decoded(interlaced).tolist() == by_pillow(interlaced).tolist() == [[[10, 20, 30]]]


@pytest.mark.parametrize("size", [16, 300])
def test_what_ingest_stores(size: int) -> None:
    stored = prepare_image(png(3, 400, 400), size).encoded
    np.testing.assert_array_equal(decoded(stored), by_pillow(stored))


def test_a_bomb_is_left_to_pillow() -> None:
    """Before anything is allocated for the size that its header tells."""
    for width, height in ((30_000, 30_000), (0, 5)):
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        chunks = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"0" * 99)), chunk(b"IEND", b"")]
        with pytest.raises((Image.DecompressionBombError, OSError)):
            decoded(stored_image.PNG_SIGNATURE + b"".join(chunks))


def test_others_are_left_to_pillow() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "a chunk more")
    others = [saved(image_of(1, 9, 7), "PNG", pnginfo=text), saved(image_of(1, 9, 7), "JPEG")]
    for encoded in others:
        np.testing.assert_array_equal(decoded(encoded), by_pillow(encoded))
    for encoded in [*others, saved(image_of(1, 9, 7, "L"), "PNG"), saved(image_of(1, 9, 7, "RGBA"), "PNG")]:
        assert not encoded.startswith(stored_image.PNG_SIGNATURE) or stored_image._plain_png(encoded) is None


@given(cut=st.integers(40, 400))  # more than the end and the checksums
def test_a_damaged_one_is_told_by_pillow(cut: int) -> None:
    encoded = saved(image_of(1, 12, 12), "PNG")[:-cut]
    with pytest.raises((OSError, SyntaxError)):
        decoded(encoded)
    with pytest.raises(OSError, match="cannot identify"):
        decoded(saved(image_of(1, 9, 7), "GIF"))
