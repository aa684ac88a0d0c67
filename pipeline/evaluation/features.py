"""A trained encoder -> features of images, before any head."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pipeline.augment import Normalizer, central_views
from pipeline.encoders import Encoder, build_encoder
from pipeline.errors import UserError
from pipeline.files import read_json, users_path
from pipeline.store import PixelStore

BATCH = 256


@dataclass(frozen=True)
class TrainedEncoder:
    encoder: Encoder
    image_size: int
    normalize: Normalizer


class _Unreadable(Exception):
    """Why an encoder's files cannot be made into a network, in a line."""


def load_encoder(folder: Path, device: torch.device) -> TrainedEncoder:
    """The encoder that pretraining left in `folder`. Raises `UserError` if it is missing or damaged."""
    if missing := _missing_file(folder):
        raise UserError(f"{missing} does not exist: run `dvc repro`, which pretrains it")
    try:
        return _read_encoder(folder, device)
    except _Unreadable as why:
        raise UserError(
            f"the encoder in {folder} is damaged ({why}): delete it and run `dvc repro`"
        ) from None


def load_encoder_from_elsewhere(named: str, device: torch.device) -> TrainedEncoder:
    """The encoder in `evaluate.transfer_from`. Raises `UserError` if there is none that can be rebuilt."""
    folder = users_path(named)
    if missing := _missing_file(folder):
        raise UserError(
            f"evaluate.transfer_from={named} holds no {missing.name}: "
            "name the folder of another project's encoder, such as ../other/data/encoders/chosen"
        )
    try:
        return _read_encoder(folder, device)
    except _Unreadable as why:
        raise UserError(
            f"the encoder in evaluate.transfer_from={named} cannot be rebuilt ({why}): "
            "name another project's data/encoders/<arm>, as its pretraining left it"
        ) from None


def _missing_file(folder: Path) -> Path | None:
    files = [folder / "config.json", folder / "encoder.safetensors"]
    return next((file for file in files if not file.is_file()), None)


def _read_encoder(folder: Path, device: torch.device) -> TrainedEncoder:
    try:
        config = read_json(folder / "config.json")
        encoder = build_encoder(config["encoder"], config["stem_stride"])
        encoder.backbone.load_state_dict(load_file(folder / "encoder.safetensors"))
        image_size, mean, deviation = (config[key] for key in ("image_size", "mean", "deviation"))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        # Damaged files, an unknown network, or weights of another one, of which torch tells in many lines.
        raise _Unreadable(str(error).partition("\n")[0].rstrip(":")) from None
    normalize = Normalizer(mean, deviation, device)
    on_device = encoder.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainedEncoder(on_device.eval(), image_size, normalize)


@torch.inference_mode()
def features_of(trained: TrainedEncoder, store: PixelStore, device: torch.device) -> Tensor:
    """(N, D) float32 features of the images' central squares, on `device`.

    Computed in float32: the probe reads small differences.
    """
    outputs = []
    for canvas, sizes in zip(store.canvas_NCHW.split(BATCH), store.sizes_N2.split(BATCH), strict=True):
        views = central_views(canvas.to(device), sizes.to(device), trained.image_size)
        outputs.append(trained.encoder(trained.normalize(views)))
    if not outputs:
        return torch.zeros(0, trained.encoder.feature_dim, device=device)
    return torch.cat(outputs)
