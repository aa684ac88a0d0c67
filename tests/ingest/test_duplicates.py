"""Exact and near duplicates are found where they are, and nowhere else."""

import csv
import io
import re
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance

from pipeline.dataset.dataset import ImageSplit
from pipeline.ingest.duplicates import INDEX_BITS, MAX_DISTANCE, NONE, find_duplicates, look_alike
from pipeline.ingest.perceptual_hash import perceptual_hashes, thumbnails
from pipeline.ingest.prepare import prepare_image
from pipeline.ingest.run import ingest
from pipeline.runtime.errors import UserError
from pipeline.storage.schema import IngestSummary, Layout
from support import params_with


def photograph(seed: int, size: int = 96) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8)
    return Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)


def product(seed: int) -> Image.Image:
    """Something in the middle of white, of the same outline whatever it is."""
    image = Image.new("RGB", (96, 96), "white")
    pattern = np.random.default_rng(seed).integers(0, 200, (5, 5, 3), np.uint8)
    image.paste(Image.fromarray(pattern).resize((40, 40), Image.Resampling.BICUBIC), (28, 28))
    return image


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def look_of(image: bytes) -> np.ndarray:
    look = prepare_image(image, 128, look=True).look
    assert look is not None
    return look


def looks_of(*images: bytes) -> tuple[np.ndarray, np.ndarray]:
    looks = np.stack([look_of(image) for image in images])
    return perceptual_hashes(looks), thumbnails(looks)


def are_near(a: bytes, b: bytes) -> bool:
    hashes, thumbnail_bytes = looks_of(a, b)
    found = find_duplicates(
        np.arange(4, dtype=np.uint64).reshape(2, 2), np.zeros(2, np.int8), hashes, thumbnail_bytes
    )
    return bool(found.own_N[1] != NONE)


@pytest.mark.parametrize(
    "changed",
    [
        lambda image: jpeg(image, 40),
        lambda image: jpeg(image.resize((70, 70), Image.Resampling.LANCZOS)),
        lambda image: jpeg(ImageEnhance.Brightness(image).enhance(0.8)),
    ],
    ids=["quality", "size", "brightness"],
)
@pytest.mark.parametrize("seed", range(4))
def test_a_changed_photograph_is_found(changed: Any, seed: int) -> None:
    assert are_near(jpeg(photograph(seed)), changed(photograph(seed)))


@pytest.mark.parametrize("seed", range(4))
def test_a_product_saved_again_is_found_and_another_one_of_its_outline_is_not(seed: int) -> None:
    assert are_near(jpeg(product(seed)), jpeg(product(seed), 60))
    assert not are_near(jpeg(product(seed)), jpeg(product(seed + 100)))


def test_flat_images_match_by_their_gray() -> None:
    white, black = (jpeg(Image.new("RGB", (80, 80), colour)) for colour in ("white", "black"))
    assert are_near(white, jpeg(Image.new("RGB", (90, 80), "white")))
    assert not are_near(white, black)
    drawn = Image.new("RGB", (80, 80), "white")
    ImageDraw.Draw(drawn).ellipse((20, 20, 60, 60), fill="gray")
    assert not are_near(white, jpeg(drawn))


def brute_force(
    contents: np.ndarray, splits: np.ndarray, hashes: np.ndarray, thumbnail_bytes: np.ndarray
) -> tuple[list[int], list[int]]:
    own, other = [NONE] * len(splits), [NONE] * len(splits)
    for a, b in combinations(range(len(splits)), 2):
        distance = 0
        if (contents[a] != contents[b]).any():
            bits = int(hashes[a] ^ hashes[b]).bit_count()
            if (
                bits > MAX_DISTANCE
                or not look_alike(thumbnail_bytes[a : a + 1], thumbnail_bytes[b : b + 1])[0]
            ):
                continue
            distance = bits + 1
        if splits[a] == splits[b]:
            own[b] = min(own[b], distance << INDEX_BITS | a)
        else:
            other[a] = min(other[a], distance << INDEX_BITS | b)
            other[b] = min(other[b], distance << INDEX_BITS | a)
    return own, other


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
def test_the_bands_miss_no_pair(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    centres = generator.integers(0, 2**64, 5, dtype=np.uint64)
    hashes = centres[generator.integers(0, 5, count)]
    for _ in range(4):
        flips = np.uint64(1) << generator.integers(0, 64, count).astype(np.uint64)
        hashes = np.where(generator.random(count) < 0.7, hashes ^ flips, hashes)
    contents = np.repeat(generator.integers(0, count, (count, 1), dtype=np.uint64), 2, axis=1)
    # What has the same content has the same hash.
    hashes = hashes[contents[:, 0].astype(int)]
    thumbnail_bytes = np.repeat(generator.integers(0, 3, (count, 1)) * 100, 256, axis=1).astype(np.uint8)
    thumbnail_bytes = thumbnail_bytes[contents[:, 0].astype(int)]
    splits = generator.integers(0, 2, count).astype(np.int8)
    found = find_duplicates(contents, splits, hashes, thumbnail_bytes)
    own, other = brute_force(contents, splits, hashes, thumbnail_bytes)
    # A repeated image has the near matches of the first of its kind, whose name may come later than its own.
    assert (found.own_N >> INDEX_BITS == np.array(own) >> INDEX_BITS).all()
    assert (found.other_N == np.array(other)).all()


def test_no_image_has_no_duplicate() -> None:
    none = np.empty((0, 2), np.uint64)
    found = find_duplicates(none, np.empty(0, np.int8), np.empty(0, np.uint64), np.empty((0, 256), np.uint8))
    assert found.count(near=False, leaks=False) == found.count(near=True, leaks=True) == 0


def test_many_hashes_are_searched_in_no_time() -> None:
    """A tenth of a million; benchmarks/ingest.py searches all of it."""
    generator = np.random.default_rng(0)
    count = 100_000
    hashes = generator.integers(0, 2**64, count, dtype=np.uint64)
    hashes[1::1000] = hashes[::1000] ^ np.uint64(0b1011)
    contents = np.stack([np.arange(count, dtype=np.uint64)] * 2, axis=1)
    started = time.process_time()
    found = find_duplicates(contents, np.zeros(count, np.int8), hashes, np.zeros((count, 256), np.uint8))
    assert time.process_time() - started < 6
    assert found.count(near=True, leaks=False) == 100


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Ten photographs a split; two of test are in train again, one exactly and one nearly."""
    folder = tmp_path / "source"
    folder.mkdir()
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "split"])
        for number in range(20):
            (folder / f"{number:02d}.jpg").write_bytes(jpeg(photograph(number)))
            writer.writerow([f"{number:02d}.jpg", str(number % 2), "train" if number < 10 else "test"])
    (folder / "03.jpg").write_bytes(jpeg(photograph(13)))
    (folder / "04.jpg").write_bytes(jpeg(photograph(14), 50))
    (folder / "05.jpg").write_bytes(jpeg(photograph(6), 50))
    return folder / "manifest.csv"


def run(path: Path, root: Path, **options: object) -> IngestSummary:
    params = params_with(ingest={"source": "manifest", "path": str(path), "image_size": 128, **options})
    return ingest(params.ingest, 0, Layout(root))


def test_leaks_are_named(source: Path, tmp_path: Path) -> None:
    summary = run(source, tmp_path)
    assert (summary["duplicates"], summary["leaks"]) == (0, 1)
    assert (summary["near_duplicates"], summary["near_leaks"]) == (1, 1)
    (note,) = [note for note in summary["notes"] if "repeat train images" in note]
    assert re.match(r"2 of \d+ test images repeat train images \(1 exactly, 1 nearly\)", note)
    assert "set ingest.leaks=drop_train" in note
    rows = pq.read_table(tmp_path / "images/duplicates.parquet").to_pylist()
    named = {(row["id"], row["of"], row["kind"], row["split"], row["of_split"]) for row in rows}
    assert named == {
        ("06.jpg", "05.jpg", "near", "train", "train"),
        ("03.jpg", "13.jpg", "exact", "train", "test"),
        ("13.jpg", "03.jpg", "exact", "test", "train"),
        ("04.jpg", "14.jpg", "near", "train", "test"),
        ("14.jpg", "04.jpg", "near", "test", "train"),
    }
    assert all((row["distance"] == 0) or row["kind"] == "near" for row in rows)


def test_without_the_search_only_equal_ones_are_found(source: Path, tmp_path: Path) -> None:
    summary = run(source, tmp_path, near_duplicates=False)
    assert (summary["leaks"], summary["near_leaks"], summary["near_duplicates"]) == (1, None, None)


def test_leaking_train_images_are_taken_out_and_told(source: Path, tmp_path: Path) -> None:
    summary = run(source, tmp_path, leaks="drop_train")
    assert summary["images"] == {"train": 8, "test": 10}
    assert (summary["leaks"], summary["near_leaks"], summary["rejected"]) == (0, 0, 2)
    train = ImageSplit(tmp_path / "images", "train").columns(["id"])["id"].to_pylist()
    assert not {"03.jpg", "04.jpg"} & set(train)
    assert pq.read_table(tmp_path / "images/rejects.parquet").to_pylist() == [
        {
            "where": "03.jpg",
            "reason": "an exact duplicate of the test image 13.jpg (ingest.leaks=drop_train)",
        },
        {
            "where": "04.jpg",
            "reason": "a near duplicate of the test image 14.jpg (ingest.leaks=drop_train)",
        },
    ]
    duplicates = pq.read_table(tmp_path / "images/duplicates.parquet").to_pylist()
    assert [(row["id"], row["of"]) for row in duplicates] == [("06.jpg", "05.jpg")]


def test_nothing_is_left_of_a_train_that_test_holds(source: Path, tmp_path: Path) -> None:
    lines = source.read_text().splitlines()
    source.write_text("\n".join([lines[0], lines[4], *lines[11:]]))
    with pytest.raises(UserError, match=r"every train image is also in test.*ingest\.leaks=keep"):
        run(source, tmp_path, leaks="drop_train")
