"""Which encoder a person means, and how it is known again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.evaluation.features import (
    EncoderUnreadable,
    TrainedEncoder,
    check_encoder,
    check_weights_size,
    missing_file,
    read_encoder,
)
from pipeline.runtime.errors import UserError, listed, shown
from pipeline.storage.files import read_json, sha256_of_file
from pipeline.storage.schema import CHOSEN, ENCODER_CONFIG, ENCODER_WEIGHTS, Layout

FED_BY = ["encoder", "stem_stride", "feature_dim", "image_size", "mean", "std", "value_range"]
"""Keys of its configuration that, with the weights, decide its features."""


@dataclass(frozen=True)
class OpenedEncoder:
    folder: Path
    trained: TrainedEncoder
    identity: dict[str, Any]
    """`weights_sha256` and the values of `FED_BY`: equal where features can be compared."""

    @property
    def name(self) -> str:
        """For people: the network and the first digits of its weights' hash."""
        return f"{self.identity['encoder']} {self.identity['weights_sha256'][:12]}"


def encoder_folder(arm: str | None, folder: Path | None, layout: Layout) -> Path:
    """Of the options --arm and --encoder. Raises `UserError` where both are given or nothing is there."""
    if arm is not None and folder is not None:
        raise UserError("--arm and --encoder both name an encoder: give one of them")
    if folder is not None:
        if missing := missing_file(folder):
            raise UserError(
                f"--encoder {folder} holds no {missing.name}: name a folder that pretraining or "
                "`clinfonce export` wrote"
            )
        return folder
    return arm_folder(arm or CHOSEN, layout)


def arm_folder(arm: str, layout: Layout) -> Path:
    """Raises `UserError` that lists the arms that are there."""
    folder = layout.encoder(arm)
    if missing := missing_file(folder):
        arms = sorted(path.name for path in folder.parent.glob("*") if missing_file(path) is None)
        cure = (
            f"choose one of {listed(arms)}" if arms else "run this in the project's folder, after `dvc repro`"
        )
        raise UserError(f"--arm {shown(arm)}: {shown(missing)} does not exist: {cure}")
    return folder


def open_encoder(folder: Path, device: torch.device) -> OpenedEncoder:
    """Raises `UserError` where the files cannot be made into an encoder."""
    try:
        trained = read_encoder(folder, device)
        check_encoder(trained, device)
    except EncoderUnreadable as why:
        raise UserError(
            f"the encoder in {folder} is damaged ({why}): make it anew, or name another with --encoder"
        ) from None
    return OpenedEncoder(folder, trained, identity_of(folder))


def identity_of(folder: Path) -> dict[str, Any]:
    config = read_json(folder / ENCODER_CONFIG)
    fed_by = {key: config.get(key) for key in FED_BY}
    check_weights_size(folder)
    return {"weights_sha256": sha256_of_file(folder / ENCODER_WEIGHTS)} | fed_by
