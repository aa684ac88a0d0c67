"""The files of an encoder, whose folder may be untrusted.

Each file is opened once, and its size is limited before it is parsed.
"""

import os
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from pipeline.runtime.json_text import parse_json
from pipeline.storage.files import sha256_of_file
from pipeline.storage.schema import ENCODER_CONFIG, ENCODER_WEIGHTS
from pipeline.untrusted.safe_paths import SafePath
from pipeline.untrusted.tensor_files import LENGTH_BYTES, check_header

MOST_OF_CONFIG = 128 << 10
"""Maximum size in bytes; parsed, the file takes sixty times as many. Training writes a few thousand."""
MOST_OF_WEIGHTS = 4 << 30
"""Maximum size in bytes: ten times the largest network of `pretrain.encoder`."""
IDENTITY = ("encoder", "stem_stride", "feature_dim", "image_size", "mean", "std", "value_range")
LATER_IDENTITY = {
    "has_adapter": False,
    "timm_arguments": None,
    "stored_size": None,
    "interpolation": "bilinear",
    "crop_pct": 1.0,
}
"""With the weights, these keys of the configuration determine the features: those that every version wrote,
and later ones with the values that earlier versions implied."""


def missing_file(folder: Path) -> Path | None:
    """Returns the first of an encoder's files that does not exist, or None."""
    files = [folder / ENCODER_CONFIG, folder / ENCODER_WEIGHTS]
    return next((file for file in files if not SafePath(file).is_there()), None)


def read_config(folder: Path) -> dict[str, Any]:
    """Returns the unvalidated configuration. Raises `ValueError`."""
    content = SafePath(folder / ENCODER_CONFIG).read_whole(MOST_OF_CONFIG)
    if content is None:
        raise ValueError(f"{ENCODER_CONFIG} holds more than {MOST_OF_CONFIG >> 10} KiB")
    values = parse_json(content)
    if not isinstance(values, dict):
        raise ValueError("it holds no object")
    return values


def read_weights(folder: Path, expected_sha256: str | None) -> tuple[dict[str, Tensor], str]:
    """Returns the weights by name, and their hash, which must equal `expected_sha256` unless that is None.

    Raises `ValueError` and `SafetensorError`.
    """
    with SafePath(folder / ENCODER_WEIGHTS).pinned() as path:
        weights_sha256 = _sha256_of(path)
        if expected_sha256 not in (None, weights_sha256):
            raise ValueError(f"its SHA-256 is not that in {ENCODER_CONFIG}")
        with open(path, "rb") as file:
            check_header(file.read(LENGTH_BYTES))
        return load_file(path), weights_sha256


def identity_of(folder: Path) -> dict[str, Any]:
    """Returns `weights_sha256` and the values that determine the features, equal for comparable features.

    Raises `ValueError`.
    """
    config = read_config(folder)
    with SafePath(folder / ENCODER_WEIGHTS).pinned() as path:
        return identity_by(config, _sha256_of(path))


def identity_by(config: dict[str, Any], weights_sha256: str) -> dict[str, Any]:
    later = {
        key: config[key] for key, implied in LATER_IDENTITY.items() if config.get(key, implied) != implied
    }
    return {"weights_sha256": weights_sha256} | {key: config.get(key) for key in IDENTITY} | later


def _sha256_of(path: Path) -> str:
    if os.stat(path).st_size > MOST_OF_WEIGHTS:
        raise ValueError(f"{ENCODER_WEIGHTS} holds more than {MOST_OF_WEIGHTS >> 30} GiB")
    return sha256_of_file(path)
