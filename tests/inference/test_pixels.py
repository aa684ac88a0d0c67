"""What `embed` shows the encoder is what evaluation shows it of the stored image."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from drawn_encoders import write_drawn_encoder
from pipeline.augment.views import central_views
from pipeline.dataset.decode import sizes_after_cutting
from pipeline.dataset.pixels import decode_center
from pipeline.evaluation.features import EncoderUnreadable, read_encoder
from pipeline.inference.images.base import InputImage
from pipeline.inference.images.crop import central_square
from pipeline.inference.images.decode import decoder, on_a_canvas
from pipeline.ingest.prepare import prepare_image
from pipeline.storage.files import write_json
from pipeline.storage.schema import Layout, ValueRange
from pipeline.untrusted.safe_paths import SafePath
from support import png

ROUNDING = 1e-5
"""Where its square lies in an image is added in float32; a step of a pixel's value is 4e-3."""


def evaluations_view(image: bytes, ingest_size: int, size: int) -> torch.Tensor:
    """Ingest, store and central view, one after the other."""
    prepared = prepare_image(image, ingest_size)
    size_2 = sizes_after_cutting(np.array([[prepared.height, prepared.width]]))[0]
    pixels_HWC = torch.from_numpy(decode_center(prepared.encoded, size_2).copy())
    return central_views(pixels_HWC.permute(2, 0, 1)[None], torch.from_numpy(size_2)[None], size)


def takeaways_view(picture: InputImage, size: int) -> torch.Tensor:
    # Beside a larger image, whose canvas it shares.
    squares = [central_square(picture, size), np.zeros((3 * size, 3 * size, 3), np.uint8)]
    return central_views(*on_a_canvas(squares), size)[:1]


SIDES = st.integers(8, 150)


@settings(max_examples=60)
@given(width=SIDES, height=SIDES, size=st.sampled_from([9, 16, 33, 70, 81]))
def test_originals(width: int, height: int, size: int) -> None:
    image = png(width, width, height)
    torch.testing.assert_close(
        takeaways_view(InputImage("", image), size),
        evaluations_view(image, size, size),
        rtol=0,
        atol=ROUNDING,
    )


@settings(max_examples=30)
@given(width=SIDES, height=SIDES, ingest_size=st.sampled_from([16, 70]), size=st.sampled_from([16, 33]))
def test_images_that_ingest_stored(width: int, height: int, ingest_size: int, size: int) -> None:
    image = png(height, width, height)
    stored = InputImage("", prepare_image(image, ingest_size).encoded, stored=True)
    torch.testing.assert_close(
        takeaways_view(stored, size), evaluations_view(image, ingest_size, size), rtol=0, atol=ROUNDING
    )


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(("width", "height"), [(900, 20), (20, 900), (50, 20), (20, 21), (20, 20)])
def test_a_square_holds_no_other_pixels(width: int, height: int, stored: bool) -> None:
    """Else a long picture would leave less memory for those beside it."""
    square = central_square(InputImage("", png(0, width, height), stored), 32)
    assert square.shape == (20, 20, 3)
    assert square.base is None


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "CMYK", "I;16"])
def test_every_mode(tmp_path: Path, mode: str) -> None:
    noise: Image.Image = Image.open(io.BytesIO(png(1, 90, 80)))
    if mode == "I;16":
        noise = Image.fromarray(np.asarray(noise.convert("L"), np.uint16) * 257)
    else:
        noise = noise.convert(mode)
    path = tmp_path / "image.tif"
    noise.save(path)
    torch.testing.assert_close(
        takeaways_view(InputImage("", SafePath(path)), 72),
        evaluations_view(path.read_bytes(), 72, 72),
        rtol=0,
        atol=ROUNDING,
    )


def test_the_encoder_s_value_range_scales_what_it_is_shown(tmp_path: Path) -> None:
    encoder = write_drawn_encoder(Layout(tmp_path))
    config = json.loads((encoder / "config.json").read_text())
    write_json(encoder / "config.json", config | {"value_range": [0, 1000]})
    value_range = read_encoder(encoder, torch.device("cpu")).value_range
    assert value_range == ValueRange(0, 1000)
    path = tmp_path / "image.tif"
    Image.fromarray(np.full((40, 40), 500, np.uint16)).save(path)
    with decoder() as decoding:
        ((_, square),) = decoding.squares([InputImage("", SafePath(path))], 32, value_range)  # type: ignore[misc]
    assert set(square.ravel()) == {128}
    stored = Image.open(io.BytesIO(prepare_image(path, 32, value_range).encoded))
    assert set(np.asarray(stored).ravel()) == {128}


@pytest.mark.parametrize("value", [[1], [2, 1], [0, float("nan")], "0,1", ["0", "1"], 7])
def test_a_value_range_that_is_none_is_refused(tmp_path: Path, value: object) -> None:
    encoder = write_drawn_encoder(Layout(tmp_path))
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps(config | {"value_range": value}))
    with pytest.raises(EncoderUnreadable, match=r"config\.json"):
        read_encoder(encoder, torch.device("cpu"))
