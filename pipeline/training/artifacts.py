"""What a training leaves: weights, their configuration, a model card, the history."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from pipeline.encoders import Encoder
from pipeline.files import replaced_directory, write_csv, write_json, write_text
from pipeline.schema import HISTORY_COLUMNS, TIMING_COLUMNS, TRAJECTORY_COLUMNS
from pipeline.training.loop import Progress

WEIGHTS = "encoder.safetensors"
CONFIG = "config.json"


@dataclass(frozen=True)
class EncoderConfig:
    """All that is needed to rebuild the encoder and feed it."""

    encoder: str
    stem_stride: int
    feature_dim: int
    image_size: int
    mean: list[float]
    deviation: list[float]


def write_artifacts(
    folder: Path,
    encoder: Encoder,
    config: EncoderConfig,
    provenance: dict[str, Any],
    progress: Progress,
    ids: list[str],
    reclusterings: dict[str, Tensor],
) -> None:
    """Replaces `folder` by the finished training's outputs, all at once."""
    with replaced_directory(folder) as fresh:
        weights = {name: tensor.cpu().contiguous() for name, tensor in encoder.backbone.state_dict().items()}
        save_file(weights, fresh / WEIGHTS)
        versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
        write_json(fresh / CONFIG, vars(config) | provenance | versions)
        write_text(fresh / "README.md", _model_card(config, provenance))
        write_csv(fresh / "history.csv", HISTORY_COLUMNS, progress.history)
        write_csv(fresh / "timing.csv", TIMING_COLUMNS, progress.timing)
        if reclusterings:
            write_csv(fresh / "trajectory.csv", TRAJECTORY_COLUMNS, progress.trajectory)
            pq.write_table(_reclusterings_table(ids, reclusterings), fresh / "assignments.parquet")


def _reclusterings_table(ids: list[str], reclusterings: dict[str, Tensor]) -> pa.Table:
    """`id`, `cluster` (the last), and `cluster_at_epoch_N`, the clusters from which epoch N + 1 learned."""
    columns: dict[str, np.ndarray] = {
        f"cluster_at_epoch_{epoch}": clusters_N.cpu().numpy() for epoch, clusters_N in reclusterings.items()
    }
    last = next(reversed(columns.values()))
    return pa.table({"id": pa.array(ids, pa.string()), "cluster": last, **columns})


def _model_card(config: EncoderConfig, provenance: dict[str, Any]) -> str:
    stem = (
        ""
        if config.stem_stride == 4
        else "width = encoder.conv1.out_channels\n"
        f"encoder.conv1 = torch.nn.Conv2d(3, width, 3, {config.stem_stride}, 1, bias=False)\n"
        "encoder.maxpool = torch.nn.Identity()\n"
    )
    return f"""---
library_name: torchvision
tags: [image-feature-extraction, self-supervised-learning, clinfonce]
---
# {config.encoder}, pretrained by `{provenance["pretrain"]["objective"]}` (arm {provenance["arm"]})

Gives {config.feature_dim} features an image of {config.image_size} x {config.image_size} pixels.

```python
import torch, torchvision
from safetensors.torch import load_file

encoder = torchvision.models.{config.encoder}(weights=None)
encoder.fc = torch.nn.Identity()
{stem}encoder.load_state_dict(load_file("encoder.safetensors"))
encoder.eval()
```

Input: RGB, 0-1, normalised with mean {config.mean} and deviation {config.deviation}.

Trained for {provenance["epochs"]} epochs on {provenance["train_images"]:,} images; all choices stand in
`config.json`, the loss of each epoch in `history.csv`.
"""
