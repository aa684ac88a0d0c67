"""Helpers that several tests import."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.params import Params, check_params

REPOSITORY = Path(__file__).resolve().parents[1]


def png(seed: int, width: int = 12, height: int = 12, mode: str = "RGB") -> bytes:
    """A PNG of noise: every seed another picture."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise.squeeze(), mode=None).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def params_with(**sections: Any) -> Params:
    """The defaults with some sections' values replaced."""
    return check_params(sections)


TINY_PRETRAIN: dict[str, Any] = {"epochs": 3, "batch_size": 16, "stem_stride": 4, "precision": "float32"}
