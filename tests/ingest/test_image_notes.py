"""What ingest says of images of which not everything is stored, and of those that show nothing."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from pipeline.ingest.image_notes import blank_notes, check_train_differs, frame_notes
from pipeline.ingest.prepare import prepare_image
from pipeline.ingest.run import ingest
from pipeline.runtime.errors import UserError
from pipeline.storage.schema import IngestSummary, Layout
from support import params_with

NAMES = pa.chunked_array([["a/1.gif", "a/2.png"], ["b/3.tif"]])


def run(folder: Path, root: Path, **options: object) -> IngestSummary:
    params = params_with(ingest={"source": "folder", "path": str(folder), **options})
    return ingest(params.ingest, params.seed, Layout(root))


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8))


def test_images_with_further_frames_are_counted_with_the_first_of_them() -> None:
    (note,) = frame_notes(np.array([False, True, True]), NAMES)
    assert note.startswith("2 images have further pages or frames, such as a/2.png, and only the first")
    assert frame_notes(np.zeros(3, np.bool_), NAMES) == []


def test_ingest_counts_files_of_several_pages(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "d" / label).mkdir(parents=True)
        for number in range(4):
            pages = [noise(10 * number + page + 100 * (label == "b")) for page in range(1 + number % 2)]
            name = tmp_path / "d" / label / f"{number}.tif"
            pages[0].save(name, save_all=True, append_images=pages[1:])
    notes = [note for note in run(tmp_path / "d", tmp_path)["notes"] if "frames" in note]
    assert [note.split(",")[:2] for note in notes] == [
        ["4 images have further pages or frames", " such as a/1.tif"]
    ]


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def transparent(ink: int) -> Image.Image:
    """Returns a drawing of a gray level on a transparent ground."""
    image = Image.new("RGBA", (32, 32), (255, 255, 255, 0))
    ImageDraw.Draw(image).ellipse((5, 5, 20, 20), fill=(ink, ink, ink, 255))
    return image


PURPLE = Image.new("RGB", (90, 80), (200, 30, 160))


@pytest.mark.parametrize(
    ("content", "color"),
    [
        (encoded(transparent(255), "PNG"), 0xFFFFFF),
        (encoded(transparent(0), "PNG"), None),
        (encoded(PURPLE.resize((20, 20)), "PNG"), 0xC81EA0),  # kept as it is
        (encoded(Image.new("RGB", (90, 80), "black"), "JPEG"), 0),  # kept as it is
        (encoded(Image.new("RGB", (300, 400), "white"), "JPEG"), 0xFFFFFF),
        (encoded(Image.new("I;16", (20, 20)), "TIFF"), 0),
        (encoded(noise(0), "PNG"), None),
        (encoded(noise(0).resize((90, 80)), "JPEG"), None),
    ],
)
def test_an_image_of_a_single_color_is_noticed(content: bytes, color: int | None) -> None:
    for look in (True, False):
        assert prepare_image(content, 100, look=look).single_color == color


def test_a_jpeg_whose_small_copy_alone_is_even_has_several_colors() -> None:
    checks_HW = np.indices((128, 128)).sum(0) % 2 * 255
    image = Image.fromarray(checks_HW.astype(np.uint8)).convert("RGB")
    assert prepare_image(encoded(image, "JPEG", quality=100), 128).single_color is None


def test_images_of_a_single_color_are_counted_by_their_color() -> None:
    (note,) = blank_notes(np.array([-1, 0xFFFFFF, 0xFFFFFF], np.int32), NAMES)
    assert note.startswith("2 images have a single color after decoding (2 white), such as a/2.png, and show")
    assert "darker background behind white drawings" in note
    (note,) = blank_notes(np.array([0, 0x0000FF, 0], np.int32), NAMES)
    assert "(2 black, 1 of other colors), such as a/1.gif," in note
    assert "background" not in note
    assert blank_notes(np.full(3, -1, np.int32), NAMES) == []


def test_drawings_that_vanish_on_white_are_not_blamed_on_their_labels(tmp_path: Path) -> None:
    for number in range(30):
        folder = tmp_path / "d" / "abc"[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        (transparent(255) if number < 20 else noise(number)).save(folder / f"{number}.png")
    notes = run(tmp_path / "d", tmp_path)["notes"]
    assert [note for note in notes if note.startswith("20 images have a single color")]
    assert not [note for note in notes if "copies" in note]


CONTENTS = np.array([[1, 2], [1, 2], [1, 3]], np.uint64)
SEVERAL, SAME = np.full(3, -1, np.int32), np.full(3, 0xFFFFFF, np.int32)


@pytest.mark.parametrize(
    ("contents_N2", "colors_N", "train", "passes"),
    [
        (CONTENTS, SEVERAL, [0, 1, 2], True),
        (CONTENTS, SEVERAL, [0, 1], False),
        (CONTENTS, SEVERAL, [0], True),  # what else is there to compare
        (CONTENTS, SEVERAL, [], True),
        (CONTENTS, SAME, [0, 1, 2], False),  # blank, of different sizes
        (CONTENTS, np.array([0, 0, 1], np.int32), [0, 1, 2], True),
        (CONTENTS, np.array([0, 0, -1], np.int32), [0, 1, 2], True),
    ],
)
def test_train_images_that_are_all_the_same_are_refused(
    contents_N2: np.ndarray, colors_N: np.ndarray, train: list[int], passes: bool
) -> None:
    train_N = np.isin(np.arange(3), train)
    if passes:
        check_train_differs(contents_N2, colors_N, np.zeros(3, np.bool_), train_N, NAMES)
        return
    with pytest.raises(UserError, match="train images are one and the same picture"):
        check_train_differs(contents_N2, colors_N, np.zeros(3, np.bool_), train_N, NAMES)


@pytest.mark.parametrize(
    ("image", "cure"), [(transparent(255), "#ffffff.*darker background"), (noise(1), "images that differ")]
)
def test_ingest_ends_if_nothing_can_be_learned(tmp_path: Path, image: Image.Image, cure: str) -> None:
    for number in range(6):
        folder = tmp_path / "d" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{number}.png")
    with pytest.raises(UserError, match=f"^all 6 train images are one and the same picture.*{cure}"):
        run(tmp_path / "d", tmp_path)
    assert not (tmp_path / "images").exists()


def test_equal_first_pages_are_refused_by_their_cause(tmp_path: Path) -> None:
    for number in range(4):
        folder = tmp_path / "d" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pages = [Image.new("RGB", (12, 12), "white"), noise(number)]
        pages[0].save(folder / f"{number}.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(UserError, match=r"^all 4 train.*: of their pages or frames only the first is used"):
        run(tmp_path / "d", tmp_path)
