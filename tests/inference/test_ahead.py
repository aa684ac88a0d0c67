"""What is read ahead of the encoder is bounded by bytes, however few images have them."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.inference.images import decode as decoding
from pipeline.inference.images.base import InputImage
from pipeline.inference.images.decode import AHEAD, Decoder
from pipeline.inference.images.open import open_pictures
from pipeline.inference.images.parquet import IMAGES_AT_ONCE
from pipeline.sources.base import Refusal
from pipeline.untrusted.safe_paths import SafePath

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
