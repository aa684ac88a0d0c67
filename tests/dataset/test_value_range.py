import io
import struct
import zlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, TiffImagePlugin

from pipeline.dataset.value_range import GDAL_NODATA, Scaled, scaling_notes, to_8_bits
from pipeline.ingest.decoding import ImageRefused
from pipeline.ingest.prepare import pixels_to_store, prepare_image
from pipeline.storage.schema import ValueRange

ALL = Scaled(0, 65535, False)


def tiff(values: np.ndarray, *, no_data: str | None = None, white_is_zero: bool = False) -> bytes:
    buffer = io.BytesIO()
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    if no_data is not None:
        tags[GDAL_NODATA] = no_data
    Image.fromarray(values).save(buffer, "TIFF", tiffinfo=tags)
    if not white_is_zero:
        return buffer.getvalue()
    # Pillow cannot write it: the value behind the entry's tag, type and count.
    entry = struct.pack("<HHI", 262, 3, 1)
    before, after = buffer.getvalue().split(entry)
    return before + entry + struct.pack("<H", 0) + after[2:]


def png_of_16_bits(values_HWC: np.ndarray, colour: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values_HWC.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values_HWC)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    blocks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*block) for block in blocks)


def ramp(low: float, high: float, kind: type) -> np.ndarray:
    return np.linspace(low, high, 256).reshape(16, 16).astype(kind)


@pytest.mark.parametrize(
    ("low", "high", "kind", "used"),
    [
        (0, 65535, np.uint16, (0, 65535)),
        (100, 20_000, np.uint16, (0, 65535)),
        (0, 4095, np.uint16, (0, 4095)),  # 12 bits in 16
        (0, 1500, np.uint16, (0, 4095)),
        (0, 1000, np.uint16, (0, 1023)),
        (0, 255, np.uint16, (0, 255)),
        (0, 40, np.uint16, (0, 40)),
        (-1024, 3071, np.int32, (-1024, 3071)),  # computed tomography
        (0, 1, np.float32, (0, 1)),
        (0, 0.6, np.float32, (0, 1)),
        (0.01, 0.02, np.float32, (0.01, 0.02)),
        (0, 255, np.float32, (0, 255)),
        (-3.5, 8.25, np.float32, (-3.5, 8.25)),
        (1e5, 2e5, np.float32, (1e5, 2e5)),
    ],
)
def test_an_image_is_scaled_by_the_range_that_its_values_are_of(
    low: float, high: float, kind: type, used: tuple[float, float]
) -> None:
    values = ramp(low, high, kind)
    prepared = prepare_image(tiff(values), 64)
    assert prepared.scaled == pytest.approx((*used, False), rel=1e-6)
    expected = np.clip((values.astype(float) - used[0]) / (used[1] - used[0]) * 255, 0, 255).round()
    stored = pixels_to_store(tiff(values), 64)
    np.testing.assert_allclose(stored[..., 0], expected, atol=1)
    assert stored.max() >= 60
    assert (stored[..., 0] == stored[..., 2]).all()


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf, -9999, -32768, 3.4e38, -3.4e38])
def test_what_holds_no_data_is_black_and_does_not_count(missing: float) -> None:
    values = ramp(0, 1, np.float32)
    values[:4] = missing
    prepared = prepare_image(tiff(values), 64)
    assert prepared.scaled == (0, 1, True)
    stored = pixels_to_store(tiff(values), 64)
    assert stored[:4].max() == 0
    assert stored[-1].min() > 235


def test_what_a_tiff_declares_as_no_data_does_not_count() -> None:
    values = ramp(0, 900, np.uint16)
    values[0] = 65535
    assert prepare_image(tiff(values, no_data="65535"), 64).scaled == (0, 1023, True)
    assert prepare_image(tiff(values, no_data="what is this"), 64).scaled == ALL


WHITE_ZERO = [
    (np.uint8, 0, 255, 255),
    (np.uint16, 0, 65535, 65535),
    (np.uint16, 0, 4095, 65535),  # 12 bits, mirrored in 16
    (np.uint16, 0, 4095, 4095),  # 12 bits, mirrored in 12
    (np.uint16, 30, 1000, 1023),
    (np.uint16, 65400, 65535, 65535),  # a page that is nearly white
    (np.uint16, 65535, 65535, 65535),
    (np.float32, 0, 1, 1),
    (np.float32, -1000, 3000, 2000),
]


@pytest.mark.parametrize(("kind", "low", "high", "white"), WHITE_ZERO)
def test_a_picture_has_the_same_pixels_whether_zero_is_black_or_white(
    kind: type, low: float, high: float, white: float
) -> None:
    values = ramp(low, high, kind)
    mirrored: np.ndarray = (white - values.astype(np.float64)).astype(kind)
    black_zero = prepare_image(tiff(values), 64)
    white_zero = prepare_image(tiff(mirrored, white_is_zero=True), 64)
    assert white_zero.scaled == pytest.approx(black_zero.scaled)
    stored = [pixels_to_store(content, 64) for content in (tiff(values), tiff(mirrored, white_is_zero=True))]
    np.testing.assert_allclose(stored[0].astype(int), stored[1].astype(int), atol=kind is np.float32)
    assert (np.diff(stored[1][..., 0].ravel().astype(int)) >= 0).all()


@given(
    hnp.arrays(np.uint16, (9, 12)).filter(lambda values: values.min() < 49152),
    st.none() | st.just(ValueRange(0, 65535)),
)
def test_any_16_bits_are_the_same_picture_with_white_as_zero(
    values: np.ndarray, given_range: ValueRange | None
) -> None:
    mirrored = tiff(65535 - values, white_is_zero=True)
    expected = pixels_to_store(tiff(values), 64, given_range)
    np.testing.assert_array_equal(pixels_to_store(mirrored, 64, given_range), expected)


def test_a_given_range_is_that_of_the_stored_values_also_with_white_as_zero() -> None:
    stored = pixels_to_store(tiff(ramp(0, 4095, np.uint16), white_is_zero=True), 64, ValueRange(0, 4095))
    np.testing.assert_allclose(stored[..., 0].astype(float), 255 - ramp(0, 255, float), atol=1)


def test_what_holds_no_data_is_black_also_with_white_as_zero() -> None:
    values = ramp(0, 1, np.float32)
    values[:4] = -9999
    stored = pixels_to_store(tiff(values, white_is_zero=True), 64)
    assert stored[:4].max() == 0
    assert stored[4].min() > 170
    assert stored[-1].max() < 20


def test_an_image_of_one_value_is_black() -> None:
    assert pixels_to_store(tiff(np.full((9, 9), -700.5, np.float32)), 64).max() == 0


def test_an_image_without_any_value_is_refused() -> None:
    with pytest.raises(ImageRefused, match="no pixel holds a value"):
        prepare_image(tiff(np.full((9, 9), np.nan, np.float32)), 64)


def test_a_given_range_scales_all_alike() -> None:
    dark, bright = ramp(0, 300, np.uint16), ramp(0, 4095, np.uint16)
    stored = [pixels_to_store(tiff(values), 64, ValueRange(0, 4000)) for values in (dark, bright)]
    assert stored[0].max() == round(300 / 4000 * 255)
    assert stored[1][15, 15, 0] == 255
    assert prepare_image(tiff(dark), 64, ValueRange(0, 4000)).scaled == (0, 4000, False)
    plain = Image.new("RGB", (9, 9), (10, 20, 30))
    buffer = io.BytesIO()
    plain.save(buffer, "BMP")
    assert prepare_image(buffer.getvalue(), 64, ValueRange(0, 4000)).scaled is None


@pytest.mark.parametrize("rows", [1, 3, 16])
def test_pieces_of_a_large_image_are_scaled_alike(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr("pipeline.dataset.value_range.PIXELS_AT_ONCE", rows * 16)
    values = ramp(-5, 5, np.float32)
    scaled, _ = to_8_bits(Image.fromarray(values), None)
    np.testing.assert_array_equal(np.asarray(scaled), ((values.astype(float) + 5) / 10 * 255).round())


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_colours_of_16_bits_that_would_be_black_are_refused(colour: int, channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (16, 16, channels))
    if channels in (2, 4):
        values[..., -1] = 65535  # opaque
    with pytest.raises(ImageRefused, match="12 or fewer"):
        prepare_image(png_of_16_bits(values, colour), 64)
    bright = pixels_to_store(png_of_16_bits(np.where(values < 4096, values * 16, values), colour), 64)
    assert bright.max() > 200


def test_a_user_learns_how_images_were_scaled() -> None:
    assert scaling_notes(Counter(), None) == []
    assert scaling_notes(Counter({ALL: 30}), None) == []
    twelve = Scaled(0, 4095, False)
    assert scaling_notes(Counter({twelve: 1200}), None) == [
        "1,200 images of more than 8 bits were scaled from 0 to 4,095"
    ]
    mixed = Counter({twelve: 5, ALL: 9, Scaled(-3, 7, True): 2, Scaled(-4, 7, False): 1})
    assert scaling_notes(mixed, None) == [
        "9 images of more than 8 bits were scaled from 0 to 65,535: ingest.value_range scales all alike",
        "5 images of more than 8 bits were scaled from 0 to 4,095: ingest.value_range scales all alike",
        "3 images of more than 8 bits were scaled each from its smallest to its largest value: "
        "ingest.value_range scales all alike",
        "2 images have pixels that hold no data, which are black",
    ]
    assert scaling_notes(Counter({Scaled(0, 400, False): 7}), ValueRange(0, 400)) == [
        "7 images of more than 8 bits were scaled from 0 to 400 (ingest.value_range)"
    ]
