"""What is kept shows the same pixels, carries no metadata, and never stops a decoder."""

import hashlib
import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.pixels import decode_center
from pipeline.ingest import passthrough
from pipeline.ingest.decoding import ImageRefused
from pipeline.ingest.passthrough import kept_jpeg, kept_png
from pipeline.ingest.prepare import pixels_to_store, prepare_image
from pipeline.ingest.run import ingest
from pipeline.sources.synthetic.source import SyntheticSource
from pipeline.storage.schema import Layout
from support import params_with, png

pytestmark = pytest.mark.slow

SECRET = b"51.5074 N, 0.1278 W"
SIZE = 128


def picture(seed: int, width: int, height: int) -> Image.Image:
    """Smooth, as photographs are."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def pixels_of(encoded: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB"))


def segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def with_segments(encoded: bytes, *segments: bytes) -> bytes:
    """Behind SOI and JFIF, as cameras write them."""
    (length,) = struct.unpack_from(">H", encoded, 4)
    return encoded[: 4 + length] + b"".join(segments) + encoded[4 + length :]


def exif(orientation: int | None) -> bytes:
    tags = Image.Exif()
    tags[0x010E] = SECRET.decode()
    if orientation is not None:
        tags[0x0112] = orientation
    return tags.tobytes()


def markers(encoded: bytes) -> Iterator[int]:
    """Up to the first scan."""
    position = 2
    while encoded[position + 1] != 0xDA:
        yield encoded[position + 1]
        position += 2 + struct.unpack_from(">H", encoded, position + 2)[0]


def icc_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


METADATA = {
    "exif": segment(0xE1, exif(1)),
    "exif without orientation": segment(0xE1, exif(None)),
    "xmp": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x>" + SECRET + b"</x>"),
    "comment": segment(0xFE, SECRET),
    "icc": segment(0xE2, b"ICC_PROFILE\0\1\1" + icc_profile()),
    "maker": segment(0xEB, SECRET * 100),
    "photoshop": segment(0xED, b"Photoshop 3.0\0" + SECRET),
    "adobe": segment(0xEE, b"Adobe\0\x64\0\0\0\0\1" + SECRET),
}


@st.composite
def jpegs(draw: st.DrawFn) -> bytes:
    width, height = draw(st.integers(65, 200)), draw(st.integers(65, 128))
    options: dict[str, Any] = {
        "quality": draw(st.integers(1, 100)),
        "subsampling": draw(st.sampled_from([0, 1, 2])),
        "progressive": draw(st.booleans()),
        "optimize": draw(st.booleans()),
    }
    if restarts := draw(st.sampled_from([0, 1, 3])):
        options["restart_marker_blocks"] = restarts
    if draw(st.booleans()):
        options["keep_rgb"] = True
        options["subsampling"] = 0
    encoded = jpeg(picture(draw(st.integers(0, 9)), width, height), **options)
    if encoded[3] == 0xE0:
        named = draw(st.lists(st.sampled_from(sorted(METADATA)), unique=True, max_size=4))
        named = [name for name in named if not (name == "exif" and "exif without orientation" in named)]
        encoded = with_segments(encoded, *(METADATA[name] for name in named))
    return encoded + draw(
        st.sampled_from([b"", b"\0" * 9, SECRET, b"PK\x03\x04" + SECRET, b"\xff\xd8\xff\xe0"])
    )


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(jpegs())
def test_a_kept_jpeg_shows_the_same_pixels_and_tells_nothing_else(encoded: bytes) -> None:
    kept = kept_jpeg(encoded, SIZE)
    assert kept is not None
    np.testing.assert_array_equal(pixels_of(kept.encoded), pixels_of(encoded))
    assert pixels_of(kept.encoded).shape == (kept.height, kept.width, 3)
    assert SECRET not in kept.encoded
    assert kept.encoded.endswith(b"\xff\xd9")
    assert set(markers(kept.encoded)) <= {0xE0, 0xEE, 0xDB, 0xC0, 0xC1, 0xC2, 0xC4, 0xDD}
    assert len(kept.encoded) <= len(encoded)
    assert kept_jpeg(kept.encoded, SIZE) == kept


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(jpegs(), st.data())
def test_damaged_jpegs_are_refused_or_decode(encoded: bytes, data: st.DataObject) -> None:
    damaged = bytearray(encoded)
    head = min(len(damaged), 800)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, head - 1) | st.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(st.sampled_from([0, 1, 0xC0, 0xD9, 0xFF]) | st.integers(0, 255))
    if data.draw(st.booleans()):
        start = data.draw(st.integers(0, len(damaged)))
        del damaged[start : start + data.draw(st.sampled_from([1, 2, 50, 10**6]))]
    with suppress(ImageRefused):
        prepared = prepare_image(bytes(damaged), SIZE, look=True)
        # Raises where the decoder stops.
        decode_center(prepared.encoded, np.array([prepared.height, prepared.width]))


def test_a_jpeg_whose_tables_are_damaged_is_refused() -> None:
    place = USUAL.index(b"\xff\xc4") + 5
    damaged = USUAL[:place] + b"\xff" * 16 + USUAL[place + 16 :]
    assert kept_jpeg(damaged, SIZE) is not None, "only the decoder looks into tables"
    for look in (False, True):
        with pytest.raises(ImageRefused, match="damaged"):
            prepare_image(damaged, SIZE, look=look)
    with pytest.raises(ImageRefused, match="damaged"):
        pixels_to_store(damaged, SIZE)


@pytest.mark.parametrize("restarts", [0, 2])
@pytest.mark.parametrize("window", [1, 2, 7, 64, 1 << 17])
def test_the_end_of_the_data_is_found_wherever_a_window_ends(
    window: int, restarts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passthrough, "WINDOW", window)
    encoded = jpeg(picture(5, 90, 70), quality=95, restart_marker_blocks=restarts)
    assert encoded.count(b"\xff\0") > 0
    kept = kept_jpeg(encoded, 128)
    assert kept is not None
    np.testing.assert_array_equal(pixels_of(kept.encoded), pixels_of(encoded))
    assert kept_jpeg(encoded[:-2], 128) is None
    assert kept_jpeg(encoded[:-1], 128) is None


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_jpeg_is_decoded(orientation: int) -> None:
    encoded = with_segments(jpeg(picture(0, 90, 70)), segment(0xE1, exif(orientation)))
    assert kept_jpeg(encoded, SIZE) is None
    prepared = prepare_image(encoded, SIZE)
    assert (prepared.width, prepared.height) == ((90, 70) if orientation < 5 else (70, 90))
    assert not prepared.passed


def test_an_orientation_in_xmp_counts() -> None:
    xmp = b'http://ns.adobe.com/xap/1.0/\0<rdf tiff:Orientation="6"/>'
    encoded = with_segments(jpeg(picture(0, 90, 70)), segment(0xE1, xmp))
    assert kept_jpeg(encoded, SIZE) is None
    assert prepare_image(encoded, SIZE).width == 70


def arithmetic(encoded: bytes) -> bytes:
    return encoded.replace(b"\xff\xc0\0\x11", b"\xff\xc9\0\x11")


def without(encoded: bytes, marker: int) -> bytes:
    start = encoded.index(bytes([0xFF, marker]))
    (length,) = struct.unpack_from(">H", encoded, start + 2)
    return encoded[:start] + encoded[start + 2 + length :]


USUAL = jpeg(picture(1, 90, 70), quality=90)
UNUSUAL = {
    "gray": jpeg(picture(1, 90, 70).convert("L")),
    "four inks": jpeg(picture(1, 90, 70).convert("CMYK")),
    "too large": jpeg(picture(1, 300, 200)),
    "so small that it becomes a PNG": jpeg(picture(1, 90, 64)),
    "smaller than what is taken": jpeg(picture(1, 90, 7)),
    "truncated": USUAL[:-300],
    "without its end": USUAL[:-2],
    "arithmetic": arithmetic(USUAL),
    "height in DNL": USUAL[:-2] + segment(0xDC, struct.pack(">H", 70)) + USUAL[-2:],
    "no quantization table": without(without(USUAL, 0xDB), 0xDB),
    "no Huffman tables": without(without(without(without(USUAL, 0xC4), 0xC4), 0xC4), 0xC4),
    "no frame": without(USUAL, 0xC0),
    "two frames": with_segments(USUAL, segment(0xC0, b"\x08\0\x46\0\x5a\x03" + b"\1\x22\0" * 3)),
    "EXIF that can't be read": with_segments(USUAL, segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff")),
    "EXIF twice": with_segments(USUAL, segment(0xE1, exif(1)), segment(0xE1, exif(1))),
    "a hundred bytes an image": USUAL[:-2] + b"\0" * 300_000 + USUAL[-2:],
    "no JPEG": png(1, 90, 70),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_unusual_is_decoded(name: str) -> None:
    assert kept_jpeg(USUAL, SIZE) is not None
    assert kept_jpeg(UNUSUAL[name], SIZE) is None


def test_more_scans_than_encoders_write_are_refused() -> None:
    encoded = jpeg(picture(1, 90, 70), progressive=True)
    start = encoded.rindex(b"\xff\xda")
    many = encoded[:start] + encoded[start:-2] * 200 + encoded[-2:]
    assert kept_jpeg(many, SIZE) is None
    with pytest.raises(ImageRefused, match="more than 100 scans"):
        prepare_image(many, SIZE)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunks(encoded: bytes, *chunks: bytes) -> bytes:
    return encoded[:33] + b"".join(chunks) + encoded[33:]


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [chunk(b"tEXt", b"Comment\0" + SECRET)],
        [chunk(b"gAMA", b"\0\0\xb1\x8f"), chunk(b"pHYs", b"\0\0\0\1\0\0\0\1\1")],
        [chunk(b"iCCP", b"a\0\0" + zlib.compress(icc_profile()))],
        # Never unpacked: the chunk is left out before anything is decoded.
        [chunk(b"zTXt", b"bomb\0\0" + zlib.compress(bytes(200_000_000)))],
    ],
    ids=["plain", "text", "gamma", "profile", "bomb"],
)
def test_a_kept_png_shows_the_same_pixels_and_tells_nothing_else(chunks: list[bytes]) -> None:
    plain = png(3, 40, 30)
    prepared = prepare_image(with_chunks(plain, *chunks) + SECRET, 64)
    assert prepared.encoded == plain
    assert prepared.content_hash == prepare_image(plain, 64).content_hash
    np.testing.assert_array_equal(pixels_of(prepared.encoded), pixels_of(plain))


@pytest.mark.parametrize(
    "encoded",
    [
        png(1, 40, 30, "RGBA"),
        png(1, 40, 30, "L"),
        png(1, 40, 30, "P"),
        with_chunks(png(1, 40, 30), chunk(b"tRNS", b"\0\1\0\2\0\3")),
        with_chunks(png(1, 40, 30), chunk(b"acTL", b"\0\0\0\1\0\0\0\0")),
        with_chunks(png(1, 40, 30), chunk(b"eXIf", exif(6)[6:])),
        with_chunks(png(1, 40, 30), chunk(b"PRIV", b"")),
        png(1, 90, 70),
        png(1, 40, 30)[:-12],
        png(1, 40, 30).replace(b"IEND", b"IENE"),
        bytearray(png(1, 40, 30)[:-5]) + b"12345",
    ],
)
def test_png_that_is_not_just_pixels_is_decoded(encoded: bytes) -> None:
    assert kept_png(bytes(encoded), 64) is None


def test_a_png_whose_pixels_are_damaged_is_refused() -> None:
    plain = png(1, 40, 30)
    start = plain.index(b"IDAT") - 4
    damaged = plain[:start] + chunk(b"IDAT", plain[start + 8 : -400]) + plain[-12:]
    assert kept_png(damaged, 64) is not None
    with pytest.raises(ImageRefused, match=r"truncated|damaged"):
        prepare_image(damaged, 64)


@settings(max_examples=200)
@given(st.integers(0, 5), st.data())
def test_damaged_png_are_refused_or_decode(seed: int, data: st.DataObject) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x" * 30, zip=True)
    buffer = io.BytesIO()
    picture(seed, 40, 30).save(buffer, "PNG", pnginfo=info)
    damaged = bytearray(buffer.getvalue())
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(len(damaged) // 2, len(damaged))) :]
    with suppress(ImageRefused):
        prepared = prepare_image(bytes(damaged), 64)
        decode_center(prepared.encoded, np.array([prepared.height, prepared.width]))


def test_the_synthetic_source_is_what_it_was(tmp_path: Any) -> None:
    """Content hashes decide splits: they must be those of the pixels, as before PNG files were kept."""
    params = params_with(ingest={"image_size": 32, "synthetic": {"images": 200}})
    for row in SyntheticSource(params.ingest, 0).rows():
        assert isinstance(row.image, bytes)
        prepared = prepare_image(row.image, 32)
        raw = np.asarray(Image.open(io.BytesIO(row.image)))
        assert prepared.content_hash == hashlib.sha256(b"32x32" + raw.tobytes()).digest()[:16]
        assert prepared.encoded == row.image
    summary = ingest(params.ingest, 0, Layout(tmp_path))
    # From the code that decoded and encoded every image.
    assert summary["images"] == {"train": 160, "test": 40}
    digest = hashlib.sha256()
    for split in ("train", "test"):
        digest.update(
            "".join(ImageSplit(tmp_path / "images", split).columns(["id"])["id"].to_pylist()).encode()
        )
    assert (digest.hexdigest()[:16], summary["mean"], summary["std"]) == GOLDEN
    assert (summary["duplicates"], summary["leaks"]) == (0, 0)
    assert (summary["near_duplicates"], summary["near_leaks"]) == (0, 0)


GOLDEN = ("cd06ad671108c743", [0.464133, 0.470195, 0.46116], [0.297593, 0.294818, 0.309716])
