"""A configuration of strangers that feeds no network is told in a line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.evaluation.features import EncoderUnreadable, read_encoder
from support import at_once

CONFIGS: dict[str, Any] = {
    "image_size": ["x", 0, -5, 10**9, 32.5, None, [32], True],
    "stem_stride": [0, 3, "x", None],
    "mean": [[0.0], None, "abc"],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in CONFIGS.items() for value in values]
)
def test_an_encoder_that_no_image_can_be_fed_to(tmp_path: Path, key: str, value: Any) -> None:
    config = {"encoder": "resnet18", "stem_stride": 4, "image_size": 32, "mean": [0.5] * 3}
    (tmp_path / "config.json").write_text(json.dumps(config | {"deviation": [0.2] * 3, key: value}))
    with pytest.raises(EncoderUnreadable, match=r"^config\.json: "):
        read_encoder(tmp_path, torch.device("cpu"))


def test_files_without_an_end(tmp_path: Path) -> None:
    """Sparse ones take no room on the disk."""
    config = {"encoder": "resnet18", "stem_stride": 4, "image_size": 32, "mean": [0.5] * 3}
    (tmp_path / "config.json").write_text(json.dumps(config | {"deviation": [0.2] * 3}))
    with (tmp_path / "encoder.safetensors").open("wb") as file:
        file.truncate(200 << 30)
    with at_once(30), pytest.raises(EncoderUnreadable, match=r"^encoder\.safetensors: .*more than 4 GiB"):
        read_encoder(tmp_path, torch.device("cpu"))
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(20 << 30)
    with at_once(30), pytest.raises(EncoderUnreadable, match=r"^config\.json: .*more than 64 MiB"):
        read_encoder(tmp_path, torch.device("cpu"))


def test_a_configuration_without_an_end(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(EncoderUnreadable, match="nested too deep"):
        read_encoder(tmp_path, torch.device("cpu"))
