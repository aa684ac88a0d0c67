"""Features of a split, computed in parts by the workers of an executor."""

import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.dataset.dataset import ImageDataset, ImageSplit
from pipeline.dataset.pixels import load_pixels
from pipeline.evaluation.features import BATCH, TrainedEncoder, features_of, load_encoder
from pipeline.executors.base import Job, WorkerKilled, ordered_results
from pipeline.executors.select import ExecutorName, open_executor
from pipeline.runtime.device import pick_device
from pipeline.runtime.errors import UserError

IMAGES_PER_JOB = 16 * BATCH
"""A multiple of the batch size, so that each image is in the same batch as on one machine."""


def features_by_executor(
    encoder_folder: Path, dataset: ImageDataset, executor: ExecutorName
) -> tuple[Tensor, Tensor]:
    """Returns (N, D) float32 features of all train and all test images, on the device of this process.

    Raises `UserError` if a worker is killed.
    """
    with tempfile.TemporaryDirectory() as name, open_executor(executor, on_gpus=True) as opened:
        jobs = [
            Job(
                write_features,
                (encoder_folder, split.folder, split.name, start, min(start + IMAGES_PER_JOB, len(split))),
                Path(name) / f"{split.name}-{start}.npy",
            )
            for split in (dataset.train, dataset.test)
            # A split without images gives features without rows.
            for start in range(0, max(len(split), 1), IMAGES_PER_JOB)
        ]
        try:
            paths = [path for path, _ in ordered_results(((job, False) for job in jobs), opened)]
        except WorkerKilled:
            raise UserError(
                f"a process that computes features of {dataset.folder} was killed, perhaps out of memory: "
                "see the log of its node, or evaluate with --executor local"
            ) from None
        device = pick_device()
        train_ND, test_ND = (
            torch.from_numpy(
                np.concatenate([np.load(path) for path in paths if path.name.startswith(f"{split}-")])
            ).to(device)
            for split in ("train", "test")
        )
        return train_ND, test_ND


def write_features(encoder_folder: Path, images: Path, split: str, start: int, stop: int, path: Path) -> None:
    """Computes and saves the features of a range of images, as a job of an executor."""
    device = pick_device()
    store = load_pixels(ImageSplit(images, split), range(start, stop))
    np.save(path, features_of(_encoder(encoder_folder, device), store, device).cpu().numpy())


@lru_cache(1)
def _encoder(folder: Path, device: torch.device) -> TrainedEncoder:
    return load_encoder(folder, device)
