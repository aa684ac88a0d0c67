"""What is read ahead of the encoder is bounded by bytes, however few images have them."""

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.inference.images import crop
from pipeline.inference.images import decode as decoding
from pipeline.inference.images.base import InputImage
from pipeline.inference.images.crop import ANSWER_BYTES, squares
from pipeline.inference.images.decode import AHEAD, Decoder
from pipeline.inference.images.open import open_pictures
from pipeline.inference.images.parquet import IMAGES_AT_ONCE
from pipeline.sources.base import Refusal
from pipeline.untrusted.isolation.pool import Call
from pipeline.untrusted.safe_paths import SafePath
from support import png

A_CALL_BYTES, COUNT = 1000, 300


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoder]:
    monkeypatch.setattr(decoding, "A_CALL_BYTES", A_CALL_BYTES)
    decoder = Decoder(1)
    yield decoder
    decoder.close()


@pytest.mark.parametrize(
    ("image", "most"),
    [
        (SafePath(Path("absent.png")), AHEAD),
        (b"x" * 10, AHEAD),
        # Calls of five images are worth two each.
        (b"x" * 250, AHEAD * 5 // 8 // 2 + 5),
        (b"x" * 10_000, 2),
        (b"x" * 1_000_000, 1),
    ],
    ids=["files", "tiny", "some at once", "large", "larger than all"],
)
def test_images_ahead(opened: Decoder, image: bytes | SafePath, most: int) -> None:
    read = 0

    def pictures() -> Iterator[InputImage | Refusal]:
        nonlocal read
        for read in range(1, COUNT + 1):
            yield InputImage(str(read), image)

    ahead = 0
    found: list[str] = []
    for answer in opened.squares(pictures(), 32):
        assert isinstance(answer, Refusal)
        ahead = max(ahead, read - len(found))
        found.append(answer.where)
    assert found == [str(number) for number in range(1, COUNT + 1)]
    assert most // 2 < ahead <= most


@pytest.mark.parametrize(
    ("side", "bytes_of_answer", "per_call"),
    [(40, 10**9, [8, 8, 4]), (40, 3 * 40**2, [1] * 20), (40, 3 * 40**2 + 1, [2] * 10), (300, 1, [1] * 20)],
    ids=["little", "one image", "two images", "larger than an answer"],
)
def test_an_answer_ends_where_its_pixels_are_many(
    monkeypatch: pytest.MonkeyPatch, side: int, bytes_of_answer: int, per_call: list[int]
) -> None:
    monkeypatch.setattr(crop, "ANSWER_BYTES", bytes_of_answer)
    pictures = [InputImage(str(number), png(number, side, side), stored=True) for number in range(20)]
    found = []
    while pictures:
        answers = squares(pictures[:8], 32, None)
        found.append(len(answers))
        pictures = pictures[len(answers) :]
    assert found == per_call


def test_stored_images_that_are_larger_than_expected() -> None:
    """One in four has 2,048 pixels, which fill an answer; they come in order, each once."""
    large, small = png(0, 2048, 2048), png(1, 40, 40)
    pictures = [InputImage(str(n), small if n % 4 else large, stored=n % 7 != 0) for n in range(24)]
    opened, sizes, submitted = Decoder(2), [], []
    submit = opened._pool.submit

    def recorded(call: Call) -> "Future[Any]":
        future = submit(call)
        submitted.append(future)
        return future

    opened._pool.submit = recorded  # type: ignore[method-assign]
    try:
        for number, answer in enumerate(opened.squares(pictures, 32)):
            assert not isinstance(answer, Refusal)
            assert answer[0] == str(number)
            sizes.append(len(answer[1]))
    finally:
        opened.close()
    assert sizes == [(40 if n % 4 else 2048) if n % 7 else 32 for n in range(24)]
    held = [sum(square.nbytes for _, square in future.result()) for future in submitted]
    assert max(held) < ANSWER_BYTES + 3 * 2048**2


def test_few_images_of_a_table_are_read_at_once(tmp_path: Path) -> None:
    # A dictionary holds it once, and what is read many times.
    image, count = bytes(100_000), 256
    pq.write_table(pa.table({"image": [image] * count}), tmp_path / "t.parquet")
    before, rows, most = pa.total_allocated_bytes(), 0, 0
    for picture in open_pictures(tmp_path / "t.parquet").between(0, count):
        assert isinstance(picture, InputImage)
        assert picture.image == image
        rows += 1
        most = max(most, pa.total_allocated_bytes() - before)
    assert rows == count
    assert most < 3 * IMAGES_AT_ONCE * len(image) < count * len(image)
