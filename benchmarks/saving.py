"""Cost of checkpoints in a training: as configured, compared with none and with one after each epoch.

uv run --group bench python -m benchmarks.saving
"""

import os
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from unittest.mock import patch

import torch
import typer

from benchmarks.contenders import Ours, Setting, decoded, encoded_images
from benchmarks.harness import Goal, JsonFlag, Outcome, in_turns, times_as_fast
from pipeline.dataset.pixels import PixelStore
from pipeline.runtime.device import compute_dtype, pick_device
from pipeline.training.checkpoint import SHARE_VARIABLE, StateFolder
from pipeline.training.malloc import limited_arenas
from pipeline.training.shutdown import StopRequest
from pipeline.training.trackers import Trackers

SHARES = {"no epoch": "1e-9", "as the share of 0.02 allows": "0.02", "every epoch": "1e9"}


def measure(images: int = 2048, epochs: int = 12, rounds: int = 4, as_json: JsonFlag = False) -> None:
    """ResNet-18 on few, small images, whose epochs are short: the hardest case."""
    store = decoded(encoded_images(images, 32))
    runs = {what: partial(_train, store, epochs, share) for what, share in SHARES.items()}
    seconds = in_turns(runs, rounds, pause_seconds=1.0)
    outcome = Outcome("saving")
    never, ours, _ = SHARES
    outcome.tables[f"{epochs} epochs of {images:,} images at 32 px; saved after"] = [
        {
            "what": what,
            "seconds": median(seconds[what]),
            "share of the time": 1 - 1 / times_as_fast(seconds, never, what),
        }
        for what in SHARES
    ]
    share = 1 - 1 / times_as_fast(seconds, never, ours)
    outcome.goals.append(Goal("share of the time that saving takes", share, 0.02, at_least=False))
    outcome.tell(as_json)


def _train(store: PixelStore, epochs: int, share: str) -> None:
    device = pick_device()
    trainer = Ours(Setting("resnet18", 32, 128, device, 4), store, compute_dtype("auto", device)).trainer
    trainer.params = trainer.params.model_copy(update={"epochs": epochs})
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.dict(os.environ, {SHARE_VARIABLE: share}),
        torch.random.fork_rng(),
        limited_arenas(),
    ):
        states = StateFolder(Path(folder))
        trainer.run(states, StopRequest(), Trackers([], Path(folder)))
        states.wait()


if __name__ == "__main__":
    typer.run(measure)
