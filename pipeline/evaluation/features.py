"""A trained encoder -> features of images, before any head."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pipeline.augment import Normalizer, central_views
from pipeline.encoders import Encoder, build_encoder
from pipeline.errors import UserError
from pipeline.store import PixelStore

BATCH = 256


@dataclass(frozen=True)
class TrainedEncoder:
    encoder: Encoder
    image_size: int
    normalize: Normalizer


def load_encoder(folder: Path, device: torch.device) -> TrainedEncoder:
    """The encoder that pretraining left in `folder`. Raises `UserError` if it is missing or damaged."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        encoder = build_encoder(config["encoder"], config["stem_stride"])
        encoder.backbone.load_state_dict(load_file(folder / "encoder.safetensors"))
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} does not exist: run `dvc repro`, which pretrains it") from None
    except (SafetensorError, json.JSONDecodeError, KeyError) as error:
        raise UserError(
            f"the encoder in {folder} is damaged ({error}): delete it and run `dvc repro`"
        ) from None
    normalize = Normalizer(config["mean"], config["deviation"], device)
    on_device = encoder.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainedEncoder(on_device.eval(), config["image_size"], normalize)


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
