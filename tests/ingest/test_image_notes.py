"""What ingest says of images of which not everything is stored."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.ingest.image_notes import frame_notes
from pipeline.ingest.run import ingest
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
