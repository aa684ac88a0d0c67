"""Features of images from a trained encoder, before any head."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional

from pipeline.augment.normalize import Normalizer
from pipeline.augment.views import WHOLE_SQUARE, CentralCrop, central_views, views_at_once
from pipeline.dataset.pixels import PixelStore
from pipeline.encoders.base import Encoder
from pipeline.encoders.config import EncoderConfig
from pipeline.encoders.files import identity_by, missing_file, read_config, read_weights
from pipeline.encoders.registry import build_encoder, build_plain_encoder
from pipeline.runtime.errors import UserError, first_line, shown, system_error_message
from pipeline.storage.files import resolve_user_path
from pipeline.storage.schema import ENCODER_CONFIG, ENCODER_WEIGHTS, ValueRange
from pipeline.storage.validation import damaged, missing

BATCH = 256
LARGEST_CHECKED = 128
"""Maximum side in pixels of the noise images that check external encoders."""
DAMAGE = (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)


@dataclass(frozen=True)
class TrainedEncoder:
    encoder: Encoder
    image_size: int
    normalize: Normalizer
    value_range: ValueRange | None = None
    """The values that become black and white in images of more than 8 bits; None: set for each image."""
    crop: CentralCrop = WHOLE_SQUARE
    stored_size: int | None = None
    """Pixels to which the shorter side of an image is scaled down before; None: `image_size`."""
    identity: dict[str, Any] | None = None
    """Identity as in `identity_of`; None without a folder."""
    train_images: int | None = None
    """Number of images that the encoder was trained on; None: unknown."""

    @property
    def decoded_size(self) -> int:
        """Pixels to which the shorter side of an image is scaled down while it is decoded."""
        return self.stored_size or self.image_size


class EncoderUnreadable(Exception):
    """Raised if an encoder's files cannot be loaded; the message is the reason, in one line."""


def load_encoder(folder: Path, device: torch.device) -> TrainedEncoder:
    """Loads the encoder that pretraining wrote to `folder`.

    Raises `UserError` if it is missing or damaged.
    """
    if absent := missing_file(folder):
        raise missing(absent)
    try:
        return read_encoder(folder, device)
    except EncoderUnreadable as why:
        raise damaged(folder, str(why)) from None


def load_encoder_from_elsewhere(named: str, device: torch.device) -> TrainedEncoder:
    """Loads the encoder in `evaluate.transfer_from`. Raises `UserError` if it cannot be loaded."""
    folder = resolve_user_path(named)
    if missing := missing_file(folder):
        raise UserError(
            f"evaluate.transfer_from={named} holds no {missing.name}: "
            "name the folder of another project's encoder, such as ../other/data/encoders/chosen"
        )
    try:
        trained = read_encoder(folder, device)
        check_encoder(trained, device)
        return trained
    except EncoderUnreadable as why:
        raise UserError(
            f"the encoder in evaluate.transfer_from={named} cannot be rebuilt ({why}): "
            "name data/encoders/<arm> of another project, unmodified"
        ) from None


def read_encoder(folder: Path, device: torch.device) -> TrainedEncoder:
    """Loads the encoder in `folder`, which may be untrusted. Raises `EncoderUnreadable`."""
    with _reading(ENCODER_CONFIG):
        values = read_config(folder)
        config = EncoderConfig.checked(values)
        with torch.device("meta"):
            planned = build_plain_encoder(config.architecture).backbone.state_dict()
    with _reading(ENCODER_WEIGHTS):
        # Encoders of earlier versions have no hash.
        weights, weights_sha256 = read_weights(folder, config.weights_sha256)
        _check_numbers(weights)
        # Before the network takes memory, since a configuration may name one of billions of weights.
        _check_shapes(weights, planned)
        encoder = build_encoder(config.architecture)
        encoder.backbone.load_state_dict(weights)
    if config.feature_dim not in (None, encoder.feature_dim):
        raise EncoderUnreadable(
            f"{ENCODER_CONFIG}: feature_dim is {config.feature_dim}, but {encoder.feature_dim} in the network"
        )
    on_device = encoder.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    normalize = Normalizer(config.mean, config.std, device)
    value_range = None if config.value_range is None else ValueRange(*config.value_range)
    return TrainedEncoder(
        on_device.eval(),
        config.image_size,
        normalize,
        value_range,
        CentralCrop(config.interpolation, config.crop_pct),
        config.stored_size,
        identity_by(values, weights_sha256),
        config.train_images,
    )


def _check_numbers(weights: dict[str, Tensor]) -> None:
    """Raises `ValueError` for weights that are not finite float32 numbers, and for negative variances."""
    for name, weight in weights.items():
        if not (weight.dtype == torch.float32 or name.endswith("num_batches_tracked")):
            raise ValueError(f"{shown(name)} holds {weight.dtype}, expected torch.float32")
        if not weight.isfinite().all():
            raise ValueError(f"{shown(name)} holds numbers that are not finite")
        if name.endswith("running_var") and (weight < 0).any():
            raise ValueError(f"{shown(name)} holds variances below 0")


def _check_shapes(weights: dict[str, Tensor], planned: dict[str, Tensor]) -> None:
    """Raises `ValueError` unless the weights have the names and shapes of a network."""
    if further := set(weights).symmetric_difference(planned):
        where = "lacks" if min(further) in planned else "holds"
        raise ValueError(f"it {where} {shown(min(further))}, so its weights are of another network")
    for name, weight in weights.items():
        if weight.shape != planned[name].shape:
            raise ValueError(f"{shown(name)} has another shape than in the network")


def check_encoder(trained: TrainedEncoder, device: torch.device) -> None:
    """Raises `EncoderUnreadable` if the features of noise images are not finite, or all equal.

    This is for external encoders; the report covers collapses of this project's encoders.
    """
    # Networks of timm may take no other size.
    fixed = trained.identity is not None and trained.identity["stem_stride"] is None
    size = trained.image_size if fixed else min(trained.image_size, LARGEST_CHECKED)
    generator = torch.Generator().manual_seed(0)
    fine, coarse = (torch.randint(256, (4, 3, side, side), generator=generator) for side in (size, size // 4))
    coarse = functional.interpolate(coarse.float(), (size, size)).long()
    canvas_8CHW = torch.cat([fine, coarse]).to(device, torch.uint8)
    checked = replace(trained, image_size=size)
    features_8D = features_of_batch(checked, canvas_8CHW, torch.full((8, 2), size, device=device))
    if not features_8D.isfinite().all():
        raise EncoderUnreadable(f"{ENCODER_WEIGHTS}: its features are not finite")
    if torch.allclose(features_8D, features_8D[:1], rtol=1e-6, atol=0.0):
        raise EncoderUnreadable(f"{ENCODER_WEIGHTS}: its features are equal for all images")


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turns errors from damaged files, unknown networks and other networks' weights into one line."""
    try:
        yield
    except (*DAMAGE, EncoderUnreadable) as error:
        if system_error_message(error):
            raise
        raise EncoderUnreadable(f"{name}: {first_line(error)}") from None


@torch.inference_mode()
def features_of(trained: TrainedEncoder, store: PixelStore, device: torch.device) -> Tensor:
    """Returns (N, D) float32 features of the central squares of the images, on `device`.

    They are computed in float32, because the probe depends on small differences.
    """
    outputs = []
    batch = views_at_once(trained.image_size, BATCH)
    for canvas, sizes in zip(store.canvas_NCHW.split(batch), store.sizes_N2.split(batch), strict=True):
        outputs.append(features_of_batch(trained, canvas.to(device), sizes.to(device)))
    if not outputs:
        return torch.zeros(0, trained.encoder.feature_dim, device=device)
    return torch.cat(outputs)


def check_features(features_ND: Tensor, encoder: str) -> None:
    """Raises `UserError` for features that are not finite. `encoder` is the subject of the message."""
    if lost := int((~features_ND.isfinite()).any(dim=1).sum()):
        raise UserError(
            f"{encoder} gives features that are not finite for {lost:,} of {len(features_ND):,} images: its "
            "training diverged, so train again with a lower pretrain.learning_rate, or use another encoder"
        )


@torch.inference_mode()
def features_of_batch(trained: TrainedEncoder, canvas_NCHW: Tensor, sizes_N2: Tensor) -> Tensor:
    """Returns (N, D) float32 features of the central squares of images on a canvas, on its device."""
    views_NCSS = central_views(canvas_NCHW, sizes_N2, trained.image_size, trained.crop)
    features_ND: Tensor = trained.encoder(trained.normalize(views_NCSS))
    return features_ND
