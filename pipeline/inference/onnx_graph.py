"""The encoder as an ONNX graph, and the check that it computes the same features."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.encoders.config import EncoderConfig
from pipeline.encoders.registry import build_plain_encoder
from pipeline.runtime.errors import UserError, first_line, system_error_message

NEEDED = ["onnx", "onnxruntime", "onnxscript"]
RELATIVE, ABSOLUTE = 1e-4, 1e-5
"""Tolerances for the difference of its features from torch's."""
CHECKED_BATCHES = (1, 7)


def check_onnx_is_installed() -> None:
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        are = "is" if len(missing) == 1 else "are"
        raise UserError(
            f"--onnx needs {', '.join(missing)}, which {are} not installed: run `uv sync --extra onnx`"
        )


def write_onnx(weights: Path, config: dict[str, Any], path: Path) -> float:
    """Writes the graph and returns the largest difference of a feature from torch's.

    Its input is `images`, (N, 3, S, S) float32, RGB, 0-1: the graph normalises. Its output is `features`,
    (N, D) float32. Raises `UserError` if torch cannot export the network, or if the features differ by more
    than rounding.
    """
    network = _Normalised(weights, config).eval()
    size = config["image_size"]
    images_NCSS = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        with _quiet():
            torch.onnx.export(
                network,
                (images_NCSS,),
                path,
                input_names=["images"],
                output_names=["features"],
                dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter raises errors of its own, which hold the whole graph
        if system_error_message(error):
            raise
        raise UserError(
            f"torch can't write {config['encoder']} as ONNX ({first_line(error):.120}): export without --onnx"
        ) from None
    return _checked_difference(network, path, size)


class _Normalised(nn.Module):
    """Images 0-1 -> features, by the plain modules of torch, torchvision or timm."""

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Path, config: dict[str, Any]) -> None:
        super().__init__()
        self.backbone = build_plain_encoder(EncoderConfig.checked(config).architecture).backbone
        self.backbone.load_state_dict(load_file(weights))
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(config[name]).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        features_ND: Tensor = self.backbone((images - self.mean) / self.std)
        return features_ND


@torch.inference_mode()
def _checked_difference(network: nn.Module, path: Path, size: int) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(1)
    largest = 0.0
    for count in CHECKED_BATCHES:
        images_NCSS = torch.rand(count, 3, size, size, generator=generator)
        expected_ND = network(images_NCSS).numpy()
        (found_ND,) = session.run(["features"], {"images": images_NCSS.numpy()})
        largest = max(largest, float(np.abs(found_ND - expected_ND).max()))
        if not np.allclose(found_ND, expected_ND, rtol=RELATIVE, atol=ABSOLUTE):
            raise UserError(
                f"encoder.onnx gives features that differ by up to {largest:.1e} from torch's, more than "
                "rounding: export without --onnx, or with other versions of onnx, onnxruntime and torch"
            )
    return largest


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter, which warns about optional packages that it does not find."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
