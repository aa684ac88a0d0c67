"""Ingest beside a plain loop of Pillow, and beside what a DataLoader would decode every epoch.

uv run --group bench python -m benchmarks.ingest
"""

import csv
import io
import tempfile
from pathlib import Path
from statistics import median

import typer
from PIL import Image

from benchmarks.contenders import encoded_images
from benchmarks.harness import JsonFlag, Outcome, in_turns, times_as_fast
from pipeline.ingest.params import IngestParams
from pipeline.ingest.run import ingest
from pipeline.schema import Layout

OURS, PILLOW = "clinfonce, to sharded Parquet", "Pillow: open, resize, save, one after the other"


def measure(
    images: int = 2000, source_size: int = 256, size: int = 64, rounds: int = 3, as_json: JsonFlag = False
) -> None:
    """JPEG files of `source_size` pixels to `size` pixels; ours also hashes, checks, splits and sums up."""
    outcome = Outcome("ingest")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "manifest.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "label"])
            for number, image in enumerate(encoded_images(images, source_size)):
                (folder / f"{number}.jpg").write_bytes(image)
                writer.writerow([f"{number}.jpg", str(number % 10)])
        params = IngestParams.model_validate(
            {"source": "manifest", "path": str(folder / "manifest.csv"), "image_size": size}
        )

        def pillow() -> None:
            for number in range(images):
                with Image.open(folder / f"{number}.jpg") as image:
                    image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC).save(
                        io.BytesIO(), "PNG"
                    )

        runs = {OURS: lambda: ingest(params, 0, Layout(folder / "data")), PILLOW: pillow}
        seconds = in_turns(runs, rounds)
    outcome.tables[f"{images:,} JPEG files of {source_size} px to {size} px"] = [
        {
            "what": what,
            "images/s": images / median(seconds[what]),
            "clinfonce is faster": f"{times_as_fast(seconds, OURS, what):.2f} x",
        }
        for what in runs
    ]
    outcome.tell(as_json)


if __name__ == "__main__":
    typer.run(measure)
