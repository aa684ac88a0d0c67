"""From a source to shards that others read, with every refusal kept."""

import io
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.dataset.dataset import ImageSplit
from pipeline.ingest import index as index
from pipeline.ingest import prepare as images_module
from pipeline.ingest import run as run_module
from pipeline.ingest.chunks import Row, Task, prepare_chunk
from pipeline.ingest.parallel import prepared_chunks
from pipeline.ingest.run import ingest
from pipeline.runtime.errors import UserError
from pipeline.storage.schema import IngestSummary, Layout
from support import params_with

pytestmark = pytest.mark.slow


def run(path: Path, root: Path, **options: object) -> IngestSummary:
    params = params_with(ingest={"source": "manifest", "path": str(path), **options})
    return ingest(params.ingest, params.seed, Layout(root))


def test_shards_hold_what_the_manifest_says(manifest: Callable[..., Path], tmp_path: Path) -> None:
    path = manifest(24)
    summary = run(path, tmp_path)
    assert summary["images"] == {"train": 18, "test": 6}
    assert (summary["labels"], summary["attributes"]) == (["cat", "dog"], ["colour", "size"])
    table = ImageSplit(tmp_path / "images", "test").columns(
        ["id", "image", "label", "hashtags", "attributes", "width"]
    )
    row = table.to_pylist()[0]
    assert row["id"] == row["image"]["path"] == "images/003.png"
    assert (row["label"], row["width"]) == ("dog", 12)
    assert row["attributes"] == {"colour": "red", "size": "large"}
    assert row["hashtags"] == ["#Pet", "tag3"]
    stored = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])))
    np.testing.assert_array_equal(stored, np.asarray(Image.open(path.parent / "images/003.png")))


def test_mean_and_deviation_are_those_of_the_train_pixels(
    manifest: Callable[..., Path], tmp_path: Path
) -> None:
    path = manifest(24)
    summary = run(path, tmp_path)
    train = [n for n in range(24) if n % 4 != 3]
    pixels = np.stack([np.asarray(Image.open(path.parent / f"images/{n:03d}.png")) for n in train]) / 255
    np.testing.assert_allclose(summary["mean"], pixels.mean(axis=(0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(summary["std"], pixels.std(axis=(0, 1, 2)), atol=1e-6)


def prepare_with_half_in_the_sample(rows: Sequence[Row], task: Task, path: Path) -> None:
    images_module.SAMPLED = 2
    prepare_chunk(rows, task, path)


def test_kept_files_count_by_some_of_them_in_whichever_order_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = partial(prepared_chunks, prepare=prepare_with_half_in_the_sample)
    monkeypatch.setattr(run_module, "prepared_chunks", prepare)
    generator = np.random.default_rng(0)
    for number in range(40):
        colours = generator.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(colours).resize((80, 80)).save(tmp_path / f"{number}.jpg", quality=95)

    def figures(name: str, order: Iterable[int], enough: int) -> np.ndarray:
        monkeypatch.setattr(index, "ENOUGH", enough)
        rows = "".join(f"{number}.jpg,{'test' if number == 0 else 'train'}\n" for number in order)
        (tmp_path / f"{name}.csv").write_text("image,split\n" + rows)
        summary = run(tmp_path / f"{name}.csv", tmp_path / name, image_size=128)
        return np.array([summary["mean"], summary["std"]])

    of_all = figures("all", range(40), 1000)
    pixels = np.stack([np.asarray(Image.open(tmp_path / f"{n}.jpg")) for n in range(1, 40)]) / 255
    np.testing.assert_allclose(of_all, [pixels.mean(axis=(0, 1, 2)), pixels.std(axis=(0, 1, 2))], atol=1e-6)
    for enough in (1, 30):
        of_some = figures(f"some-{enough}", range(40), enough)
        assert 0 < np.abs(of_some - of_all).max() < 0.1
        np.testing.assert_array_equal(of_some, figures(f"back-{enough}", reversed(range(40)), enough))


def test_row_groups_are_small_and_images_not_compressed_again(tmp_path: Path) -> None:
    params = params_with(ingest={"image_size": 16, "synthetic": {"images": 500}})
    ingest(params.ingest, 0, Layout(tmp_path))
    (path,) = ImageSplit(tmp_path / "images", "train").shards
    metadata = pq.ParquetFile(path).metadata
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert all(64 <= size <= 256 for size in sizes)
    group = metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert columns["image.bytes"].compression == "UNCOMPRESSED"
    assert columns["label"].compression == "ZSTD"


def test_bad_rows_are_kept_with_their_reason(manifest: Callable[..., Path], tmp_path: Path) -> None:
    path = manifest(24)
    (path.parent / "images/001.png").write_bytes(b"no image")
    (path.parent / "images/002.png").unlink()
    summary = run(path, tmp_path, max_reject_fraction=0.1)
    assert summary["rejected"] == 2
    rejects = pq.read_table(tmp_path / "images/rejects.parquet").to_pylist()
    assert rejects == [
        {"where": "images/001.png", "reason": "not an image"},
        {"where": "images/002.png", "reason": "the file does not exist"},
    ]
    assert sum(summary["images"].values()) == 22


def test_too_many_bad_rows_stop_with_a_sentence_and_leave_nothing(
    manifest: Callable[..., Path], tmp_path: Path
) -> None:
    path = manifest(24)
    (path.parent / "images/001.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"1 of 24 inputs \(4.2%\).*max_reject_fraction=0.01.*images/001.png"):
        run(path, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source"]


def test_without_any_image(manifest: Callable[..., Path], tmp_path: Path) -> None:
    path = manifest(4)
    shutil.rmtree(path.parent / "images")
    with pytest.raises(UserError, match="gave no usable image"):
        run(path, tmp_path)


@pytest.mark.parametrize(("image_size", "taken"), [(64, True), (96, True), (97, False), (1000, False)])
def test_images_are_not_enlarged_beyond_measure(
    manifest: Callable[..., Path], tmp_path: Path, image_size: int, taken: bool
) -> None:
    """Of 12 pixels: eight times that is 96."""
    if taken:
        assert run(manifest(8), tmp_path, image_size=image_size)["images"] == {"train": 6, "test": 2}
        return
    with pytest.raises(
        UserError, match=rf"image_size={image_size} would enlarge .* have 12 pixels a side, .* lower it to 96"
    ):
        run(manifest(8), tmp_path, image_size=image_size)
    assert not (tmp_path / "images").exists()


def test_duplicates_and_leaks_are_counted(manifest: Callable[..., Path], tmp_path: Path) -> None:
    path = manifest(24)
    images = path.parent / "images"
    shutil.copy(images / "000.png", images / "001.png")  # both in train
    shutil.copy(images / "000.png", images / "003.png")  # in test
    summary = run(path, tmp_path)
    assert (summary["duplicates"], summary["leaks"]) == (1, 1)


def test_without_a_split_the_content_decides(manifest: Callable[..., Path], tmp_path: Path) -> None:
    path = manifest(40)
    shutil.copy(path.parent / "images/000.png", path.parent / "images/002.png")
    summary = run(path, tmp_path, columns={"split": None}, test_fraction=0.25)
    assert summary["images"]["test"] in (9, 10, 11)
    assert summary["leaks"] == 0
    assert "split" in summary["attributes"]


def test_the_same_input_gives_the_same_bytes(manifest: Callable[..., Path], tmp_path: Path) -> None:
    path = manifest(24)
    for name in ("a", "b"):
        run(path, tmp_path / name)
    for file in (tmp_path / "a/images").iterdir():
        assert file.read_bytes() == (tmp_path / "b/images" / file.name).read_bytes(), file.name


def test_a_source_without_attributes(manifest: Callable[..., Path], tmp_path: Path) -> None:
    path = manifest(8)
    lines = [",".join(line.split(",")[:3]) for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines))
    summary = run(path, tmp_path)
    assert summary["attributes"] == []
    assert json.loads((tmp_path / "images/summary.json").read_text()) == summary
    assert ImageSplit(tmp_path / "images", "train").columns(["attributes"]).column(0).null_count == 6


def test_a_data_set_without_train_images_ends(manifest: Callable[..., Path], tmp_path: Path) -> None:
    """And says whether refusals emptied it."""
    path = manifest(6, split=["test"] * 4 + ["train"] * 2)
    params = {"source": "manifest", "path": str(path), "max_reject_fraction": 0.5}
    (path.parent / "images/004.png").write_bytes(b"no image")
    (path.parent / "images/005.png").unlink()
    with pytest.raises(UserError, match="gave 4 test images and no train image, and 2 inputs were refused: "):
        ingest(params_with(ingest=params).ingest, 0, Layout(tmp_path))
    path = manifest(4, split=["test"] * 4)
    with pytest.raises(UserError, match="gave 4 test images and no train image: name the train images"):
        ingest(params_with(ingest=params).ingest, 0, Layout(tmp_path))


@pytest.mark.parametrize(
    ("splits", "labels", "notes"),
    [
        ("train", "ab", ["there is no test image: evaluation will have nothing to measure on"]),
        (["train", "test"] * 4, [*"aabbaab", ""], []),
        (["train", "test"] * 4, ["a", ""] * 4, ["no test image has a label: evaluation will have nothing"]),
        (["train", "test"] * 4, "ab", ["all test images have one label", "4 test images have one of 1 l"]),
        (
            ["train", "Validation"] * 4,
            [*"aabbab", *"ac"],
            ["4 validation images are taken as test images", "1 test images have one of 1 labels that no"],
        ),
        (
            ["train", "val", "test", "TRAIN"] * 2,
            "aabb",
            ["2 validation images are taken as train images, since", "all test"],
        ),
    ],
)
def test_what_test_images_cannot_measure_is_noted(
    manifest: Callable[..., Path], tmp_path: Path, splits: Any, labels: Any, notes: list[str]
) -> None:
    rows = 8
    columns = {"split": [splits] * rows if isinstance(splits, str) else splits}
    columns["label"] = list(labels) * (rows // len(labels))
    path = manifest(rows, **columns)
    summary = ingest(
        params_with(ingest={"source": "manifest", "path": str(path)}).ingest, 0, Layout(tmp_path)
    )
    about = [note for note in summary["notes"] if "ingest.columns" not in note]
    assert [note[: len(start)] for note, start in zip(about, notes, strict=True)] == notes


def test_words_for_unknown_are_counted_where_they_are_values(
    manifest: Callable[..., Path], tmp_path: Path
) -> None:
    columns: dict[str, list[object]] = {
        "label": ["Unlabelled", "cat", "dog", "cow"] * 6,
        "colour": ["NA", "NA", "red", "blue"] * 6,
        "price": ["nan", *(f"{n}.5" for n in range(23))],  # clustering reads nan as unknown
        "[odd].name": ["", "None", "x", "y"] * 6,
        "hashtags": ["#red", "nan", "#red; N/A", ""] * 6,
    }
    (note,) = [note for note in run(manifest(24, **columns), tmp_path / "a")["notes"] if "words for" in note]
    assert note == (
        'words for "unknown" count as values like any other, in label (6 x Unlabelled), hashtags (6 x nan, '
        "6 x N/A), colour (12 x NA), [odd].name (6 x None): leave such cells empty if nothing is known there"
    )
    assert not any("words for" in note for note in run(manifest(24), tmp_path / "b")["notes"])


def test_attributes_that_differ_in_case_alone_are_noted(
    manifest: Callable[..., Path], tmp_path: Path
) -> None:
    assert not any("in case alone" in note for note in run(manifest(24), tmp_path / "a")["notes"])
    path = manifest(24, Size=["S", "M"] * 12, COLOUR=["r", "b"] * 12)
    (note,) = [note for note in run(path, tmp_path / "b")["notes"] if "in case alone" in note]
    assert note.startswith(
        "attributes whose names differ in case alone (colour and COLOUR, size and Size) are mixed up"
    )
