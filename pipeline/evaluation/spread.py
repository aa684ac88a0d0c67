"""Features of a split, computed in parts by the nodes of an engine."""

import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.devices import pick_device
from pipeline.engines.base import Job, WorkerKilled, made_in_order
from pipeline.engines.choice import EngineName, opened_engine
from pipeline.errors import UserError
from pipeline.evaluation.features import BATCH, TrainedEncoder, features_of, load_encoder
from pipeline.store import load_pixels, read_outline

IMAGES_A_JOB = 16 * BATCH
"""Whole batches: cut so, each image is computed beside the same others as on one machine."""


def features_by_engine(
    encoder_folder: Path, images: Path, splits: list[str], engine: EngineName
) -> list[Tensor]:
    """(N, D) float32 of each split on this process's device, as `features_of` all its images.

    Raises `UserError` where a node dies of it.
    """
    counts = [len(read_outline(images, split).ids) for split in splits]
    with tempfile.TemporaryDirectory() as name, opened_engine(engine, on_gpus=True) as opened:
        jobs = [
            Job(
                write_features,
                (encoder_folder, images, split, start, min(start + IMAGES_A_JOB, count)),
                Path(name) / f"{split}-{start}.npy",
            )
            for split, count in zip(splits, counts, strict=True)
            # A split without images gives features without rows.
            for start in range(0, max(count, 1), IMAGES_A_JOB)
        ]
        try:
            made = [path for path, _ in made_in_order(((job, False) for job in jobs), opened)]
        except WorkerKilled:
            raise UserError(
                f"a process that embeds the images of {images} was killed, by lack of memory perhaps: look "
                "why on its node, or evaluate with --engine local"
            ) from None
        device = pick_device()
        return [
            torch.from_numpy(
                np.concatenate([np.load(path) for path in made if path.name.startswith(f"{split}-")])
            ).to(device)
            for split in splits
        ]


def write_features(encoder_folder: Path, images: Path, split: str, start: int, stop: int, path: Path) -> None:
    """As a job of an engine."""
    device = pick_device()
    store = load_pixels(images, split, range(start, stop))
    np.save(path, features_of(_encoder(encoder_folder, device), store, device).cpu().numpy())


@lru_cache(1)
def _encoder(folder: Path, device: torch.device) -> TrainedEncoder:
    return load_encoder(folder, device)
