"""A trained encoder -> features of images, before any head."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pipeline.augment import Normalizer, central_views, views_at_once
from pipeline.borders import damaged, missing
from pipeline.encoders.base import Encoder
from pipeline.encoders.registry import build_encoder
from pipeline.errors import UserError, fault_of_the_machine, first_line
from pipeline.files import read_json, sha256_of_file, users_path
from pipeline.ingest.params import LARGEST_IMAGE_SIZE, SMALLEST_IMAGE_SIZE, low_and_high
from pipeline.schema import ENCODER_CONFIG, ENCODER_WEIGHTS, ValueRange
from pipeline.store import PixelStore

MOST_OF_WEIGHTS = 4 << 30
"""Bytes: ten times the largest network that `pretrain.encoder` takes."""
BATCH = 256
DAMAGE = (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)


@dataclass(frozen=True)
class TrainedEncoder:
    encoder: Encoder
    image_size: int
    normalize: Normalizer
    value_range: ValueRange | None = None
    """By which images of more than 8 bits are to be scaled."""


class EncoderUnreadable(Exception):
    """Why an encoder's files cannot be made into a network, in a line."""


def load_encoder(folder: Path, device: torch.device) -> TrainedEncoder:
    """The encoder that pretraining left in `folder`. Raises `UserError` if it is missing or damaged."""
    if lacking := missing_file(folder):
        raise missing(lacking)
    try:
        return read_encoder(folder, device)
    except EncoderUnreadable as why:
        raise damaged(folder, str(why)) from None


def load_encoder_from_elsewhere(named: str, device: torch.device) -> TrainedEncoder:
    """The encoder in `evaluate.transfer_from`. Raises `UserError` if there is none that can be rebuilt."""
    folder = users_path(named)
    if missing := missing_file(folder):
        raise UserError(
            f"evaluate.transfer_from={named} holds no {missing.name}: "
            "name the folder of another project's encoder, such as ../other/data/encoders/chosen"
        )
    try:
        return read_encoder(folder, device)
    except EncoderUnreadable as why:
        raise UserError(
            f"the encoder in evaluate.transfer_from={named} cannot be rebuilt ({why}): "
            "name another project's data/encoders/<arm>, as its pretraining left it"
        ) from None


def missing_file(folder: Path) -> Path | None:
    """The first of an encoder's files that is not there."""
    files = [folder / ENCODER_CONFIG, folder / ENCODER_WEIGHTS]
    return next((file for file in files if not file.is_file()), None)


def check_weights_size(folder: Path) -> None:
    """Before they are hashed. Raises `ValueError`."""
    if (folder / ENCODER_WEIGHTS).stat().st_size > MOST_OF_WEIGHTS:
        raise ValueError(f"{ENCODER_WEIGHTS} holds more than {MOST_OF_WEIGHTS >> 30} GiB")


def read_encoder(folder: Path, device: torch.device) -> TrainedEncoder:
    """The encoder in `folder`, whoever left it there. Raises `EncoderUnreadable`."""
    with _reading(ENCODER_CONFIG):
        config = read_json(folder / ENCODER_CONFIG)
        encoder = build_encoder(config["encoder"], config["stem_stride"])
        image_size, mean, deviation = (config[key] for key in ("image_size", "mean", "deviation"))
        if type(image_size) is not int or not SMALLEST_IMAGE_SIZE <= image_size <= LARGEST_IMAGE_SIZE:
            sizes = f"{SMALLEST_IMAGE_SIZE} to {LARGEST_IMAGE_SIZE}"
            raise ValueError(f"image_size is {image_size!r:.80}, and no number from {sizes}")
        normalize = Normalizer(mean, deviation, device)
        # Encoders of earlier versions have none.
        given = config.get("value_range")
        value_range = None if given is None else ValueRange(*low_and_high(given))
    with _reading(ENCODER_WEIGHTS):
        check_weights_size(folder)
        # Encoders of earlier versions have no hash beside them.
        if config.get("weights_sha256") not in (None, sha256_of_file(folder / ENCODER_WEIGHTS)):
            raise EncoderUnreadable(f"its bytes are not those that {ENCODER_CONFIG} tells of")
        encoder.backbone.load_state_dict(load_file(folder / ENCODER_WEIGHTS))
    on_device = encoder.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainedEncoder(on_device.eval(), image_size, normalize, value_range)


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Damaged files, an unknown network, or weights of another one, of which torch tells in many lines."""
    try:
        yield
    except (*DAMAGE, EncoderUnreadable) as error:
        if fault_of_the_machine(error):
            raise
        raise EncoderUnreadable(f"{name}: {first_line(error)}") from None


@torch.inference_mode()
def features_of(trained: TrainedEncoder, store: PixelStore, device: torch.device) -> Tensor:
    """(N, D) float32 features of the images' central squares, on `device`.

    Computed in float32: the probe reads small differences.
    """
    outputs = []
    batch = views_at_once(trained.image_size, BATCH)
    for canvas, sizes in zip(store.canvas_NCHW.split(batch), store.sizes_N2.split(batch), strict=True):
        outputs.append(features_of_batch(trained, canvas.to(device), sizes.to(device)))
    if not outputs:
        return torch.zeros(0, trained.encoder.feature_dim, device=device)
    return torch.cat(outputs)


@torch.inference_mode()
def features_of_batch(trained: TrainedEncoder, canvas_NCHW: Tensor, sizes_N2: Tensor) -> Tensor:
    """(N, D) float32 features of the central squares of images on one canvas, on its device."""
    views_NCSS = central_views(canvas_NCHW, sizes_N2, trained.image_size)
    features_ND: Tensor = trained.encoder(trained.normalize(views_NCSS))
    return features_ND
