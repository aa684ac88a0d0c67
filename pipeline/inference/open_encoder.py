"""Opening the encoder that a user names, with its identity."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.encoders.files import missing_file
from pipeline.evaluation.features import EncoderUnreadable, TrainedEncoder, check_encoder, read_encoder
from pipeline.runtime.errors import UserError, listed, shown
from pipeline.storage.schema import CHOSEN, Layout


@dataclass(frozen=True)
class OpenedEncoder:
    folder: Path
    trained: TrainedEncoder
    identity: dict[str, Any]
    """The identity as returned by `identity_of`."""

    @property
    def name(self) -> str:
        """The name shown to users: the network and the first digits of its weights' hash."""
        return f"{self.identity['encoder']} {self.identity['weights_sha256'][:12]}"


def encoder_folder(arm: str | None, folder: Path | None, layout: Layout) -> Path:
    """Returns the folder that --arm or --encoder names. Raises `UserError` if both are given or it has no
    encoder."""
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
    """Returns the folder of an arm. Without an encoder, raises a `UserError` that lists the arms with one."""
    folder = layout.encoder(arm)
    if missing := missing_file(folder):
        arms = sorted(path.name for path in folder.parent.glob("*") if missing_file(path) is None)
        cure = (
            f"choose one of {listed(arms)}" if arms else "run this in the project's folder, after `dvc repro`"
        )
        raise UserError(f"--arm {shown(arm)}: {shown(missing)} does not exist: {cure}")
    return folder


def open_encoder(folder: Path, device: torch.device) -> OpenedEncoder:
    """Opens an encoder. Raises `UserError` if its files cannot be read as one."""
    try:
        trained = read_encoder(folder, device)
        check_encoder(trained, device)
    except EncoderUnreadable as why:
        raise UserError(
            f"the encoder in {folder} is damaged ({why}): make it anew, or name another with --encoder"
        ) from None
    assert trained.identity is not None, "it was read from a folder"
    return OpenedEncoder(folder, trained, trained.identity)
