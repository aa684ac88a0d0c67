"""Ingest compared with a plain loop of Pillow, its code paths for an image, and reading of its output.

uv run --group bench python -m benchmarks.ingest
"""

import csv
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
import typer
from PIL import Image
from ruamel.yaml import YAML

from benchmarks.contenders import encoded_images
from benchmarks.harness import Goal, JsonFlag, Outcome, in_turns, times_as_fast
from pipeline.config.ingest import IngestParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.executors.workers import WORKERS_VARIABLE
from pipeline.ingest.duplicates import find_duplicates
from pipeline.ingest.perceptual_hash import THUMBNAIL_BYTES
from pipeline.ingest.prepare import prepare_image
from pipeline.ingest.run import ingest
from pipeline.storage.files import STATE_VARIABLE
from pipeline.storage.schema import Layout
from pipeline.training.loaders.streamed import StreamedLoader

REPOSITORY = Path(__file__).parents[1]
TWO, ONE = "the stage with two workers", "the stage with one worker"
KEPT, AGAIN = "kept", "Pillow: open, save as JPEG 95"
RESIZED, BY_PILLOW = "clinfonce, one image after the other", "Pillow: open, resize, save"
READ_PX = 32


def measure(
    images: int = 2000,
    resized_rows: int = 50_000,
    kept_rows: int = 100_000,
    source_size: int = 256,
    size: int = 64,
    rounds: int = 3,
    stage_rounds: int = 2,
    hashes: int = 1_000_000,
    as_json: JsonFlag = False,
) -> None:
    """JPEG files of `source_size` pixels to `size` pixels; the stage also hashes, checks, splits and sums up.

    The stage takes each file several times, so that starting its processes does not decide.
    """
    outcome = Outcome("ingest")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ[STATE_VARIABLE] = str(folder / "state")
        files = _write_source(folder, images, source_size)
        _passing(outcome, files[: images // 4], source_size, rounds)
        _resizing(outcome, files[: images // 4], size, rounds)
        for requested, rows in ((source_size, kept_rows), (size, resized_rows)):
            _two_workers(outcome, files, folder, requested, rows, stage_rounds)
        _one_for_all(outcome, files, folder, size)
        _reading_back(outcome, folder, rounds)
    _searching(outcome, hashes)
    outcome.tell(as_json)


def _write_source(folder: Path, images: int, size: int) -> list[Path]:
    files = [folder / f"{number}.jpg" for number in range(images)]
    for file, image in zip(files, encoded_images(images, size), strict=True):
        file.write_bytes(image)
    return files


def _manifest(files: Sequence[Path], folder: Path, times: int = 1) -> Path:
    """Writes a manifest with each file `times` times, under different names."""
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label"])
        for number in range(times):
            writer.writerows([["./" * number + path.name, str(row % 10)] for row, path in enumerate(files)])
    return folder / "manifest.csv"


def _stage(manifest: Path, project: Path, size: int, workers: int) -> Callable[[], object]:
    """Returns a function that runs the stage as DVC does, in a separate process.

    Its workers import what the stage imports, and not torch.
    """
    yaml = YAML()
    params = yaml.load(REPOSITORY / "params.yaml")
    params["ingest"] |= {"source": "manifest", "path": str(manifest), "image_size": size}
    project.mkdir(exist_ok=True)
    yaml.dump(params, project / "params.yaml")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), WORKERS_VARIABLE: str(workers)}
    command = [sys.executable, "-m", "stages.ingest"]
    return lambda: subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)


def _with_pillow(files: Sequence[Path], size: int) -> Callable[[], None]:
    def run() -> None:
        for file in files:
            with Image.open(file) as image:
                image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC).save(io.BytesIO(), "PNG")

    return run


def _passing(outcome: Outcome, files: Sequence[Path], size: int, rounds: int) -> None:
    """Compares on one core; the requested size is that of the files."""

    def pillow() -> None:
        for file in files:
            with Image.open(file) as image:
                image.convert("RGB").save(io.BytesIO(), "JPEG", quality=95, subsampling=0)

    runs: dict[str, Callable[[], object]] = {
        KEPT: lambda: [prepare_image(file, size, look=True) for file in files],
        AGAIN: pillow,
    }
    seconds = in_turns(runs, rounds)
    outcome.tables[f"JPEG files of {size} px that fit, one core"] = _rates(seconds, KEPT, len(files))
    outcome.goals.append(Goal("a kept file against Pillow", times_as_fast(seconds, KEPT, AGAIN), 2))


def _resizing(outcome: Outcome, files: Sequence[Path], size: int, rounds: int) -> None:
    """Compares on one core."""
    runs: dict[str, Callable[[], object]] = {
        RESIZED: lambda: [prepare_image(file, size) for file in files],
        BY_PILLOW: _with_pillow(files, size),
    }
    seconds = in_turns(runs, rounds)
    outcome.tables[f"JPEG files to {size} px, one core"] = _rates(seconds, RESIZED, len(files))
    outcome.goals.append(
        Goal("a resized file against Pillow", times_as_fast(seconds, RESIZED, BY_PILLOW), 1.0)
    )


def _two_workers(
    outcome: Outcome, files: Sequence[Path], folder: Path, size: int, rows: int, rounds: int
) -> None:
    times = rows // len(files)
    manifest = _manifest(files, folder, times)
    runs = {
        name: _stage(manifest, folder / f"{size}-px", size, workers) for name, workers in ((TWO, 2), (ONE, 1))
    }
    seconds = in_turns(runs, rounds)
    what = f"{len(files) * times:,} JPEG files to {size} px, the stage"
    outcome.tables[what] = _rates(seconds, TWO, len(files) * times)
    outcome.goals.append(Goal(f"two workers, {what}", times_as_fast(seconds, TWO, ONE), 1.8))


def _one_for_all(outcome: Outcome, files: Sequence[Path], folder: Path, size: int) -> None:
    """Measures the processor time of the main process while two others prepare the images."""
    times = max(1, 50_000 // len(files))
    params = IngestParams.model_validate(
        {"source": "manifest", "path": str(_manifest(files, folder, times)), "image_size": size}
    )
    os.environ[WORKERS_VARIABLE] = "2"
    started = time.process_time()
    ingest(params, 0, Layout(folder / "data"))
    seconds = time.process_time() - started
    del os.environ[WORKERS_VARIABLE]
    rows = len(files) * times
    outcome.tables["what one process does for all, in processor time"] = [
        {"files": rows, "rows/s": rows / seconds}
    ]


def _reading_back(outcome: Outcome, folder: Path, rounds: int) -> None:
    rows = 20_000
    params = IngestParams.model_validate({"image_size": READ_PX, "synthetic": {"images": rows}})
    ingest(params, 0, Layout(folder / "small"))
    loader = StreamedLoader(ImageSplit(folder / "small" / "images", "train"), None, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    order = loader.shuffled(generator)

    def read() -> None:
        for _ in loader.batches(order.split(256)):
            pass

    what = "streamed in a shuffled order, decoded"
    seconds = in_turns({what: read}, rounds)
    rate = len(order) / median(seconds[what])
    outcome.tables[f"reading back {READ_PX} px"] = [{"what": what, "rows/s": rate}]
    outcome.goals.append(Goal(f"rows/s read back at {READ_PX} px", rate, 20_000))


def _searching(outcome: Outcome, count: int) -> None:
    """Measures CPU seconds, with a pair of near duplicates in every thousand hashes."""

    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**64, count, dtype=np.uint64)
    hashes[1::1000] = hashes[::1000] ^ np.uint64(0b1011)
    contents = np.stack([np.arange(count, dtype=np.uint64)] * 2, axis=1)
    thumbnails = np.zeros((count, THUMBNAIL_BYTES), np.uint8)
    started = time.process_time()
    found = find_duplicates(contents, np.zeros(count, np.int8), hashes, thumbnails)
    seconds = time.process_time() - started
    assert found.count(near=True, leaks=False) == len(hashes[1::1000])
    outcome.tables["near duplicates"] = [{"hashes": count, "CPU seconds": seconds}]
    outcome.goals.append(Goal("CPU seconds to search near duplicates", seconds, 60, at_least=False))


def _rates(seconds: dict[str, list[float]], ours: str, images: int) -> list[dict[str, object]]:
    return [
        {
            "what": what,
            "images/s": images / median(taken),
            f"{ours} is faster": f"{times_as_fast(seconds, ours, what):.2f} x",
        }
        for what, taken in seconds.items()
    ]


if __name__ == "__main__":
    typer.run(measure)
