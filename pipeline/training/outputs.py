"""The outputs of a training: weights, their configuration, a model card and the history."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import save
from torch import Tensor

from pipeline.encoders.base import Encoder
from pipeline.encoders.config import EncoderConfig
from pipeline.runtime.errors import UserError
from pipeline.storage.checksums import write_checksummed
from pipeline.storage.files import sha256_of_file, write_csv, write_json, write_text
from pipeline.storage.outputs import ENCODER_FILES, replaced_output
from pipeline.storage.schema import (
    ENCODER_CONFIG,
    ENCODER_WEIGHTS,
    HISTORY_COLUMNS,
    MODEL_CARD,
    TIMING_COLUMNS,
    TRAJECTORY_COLUMNS,
    IngestSummary,
)
from pipeline.training.collapse import Collapse, collapse
from pipeline.training.model_card import model_card
from pipeline.training.progress import Progress
from pipeline.training.soundness import is_finite


def write_artifacts(
    folder: Path,
    encoder: Encoder,
    config: EncoderConfig,
    provenance: dict[str, Any],
    summary: IngestSummary,
    progress: Progress,
    ids: list[str],
    reclusterings: dict[str, Tensor],
    beside_published: str,
) -> None:
    """Replaces `folder` by the finished training's outputs, all at once.

    `beside_published` is the objective's comparison with the published code, empty without an objective.
    Raises `UserError` if weights are not finite.
    """
    if not is_finite(encoder):
        raise UserError(
            f"the encoder for {folder} has weights that are not finite, so it is not written: lower "
            "pretrain.learning_rate, or look for images without any contrast"
        )
    with replaced_output(folder, ENCODER_FILES) as fresh:
        weights = {name: tensor.cpu().contiguous() for name, tensor in encoder.backbone.state_dict().items()}
        # `save_file` would make the file readable by the user only, whatever the umask.
        (fresh / ENCODER_WEIGHTS).write_bytes(save(weights))
        versions = {"torch": torch.__version__, "torchvision": version("torchvision")}
        of_weights = {"weights_sha256": sha256_of_file(fresh / ENCODER_WEIGHTS)}
        record = config.model_dump() | provenance | versions | of_weights
        write_json(fresh / ENCODER_CONFIG, record)
        parameters = sum(weight.numel() for weight in encoder.parameters())
        card = model_card(record, summary, parameters, beside_published, _collapse(progress))
        write_text(fresh / MODEL_CARD, card)
        write_csv(fresh / "history.csv", HISTORY_COLUMNS, progress.history)
        write_csv(fresh / "timing.csv", TIMING_COLUMNS, progress.timing)
        if reclusterings:
            write_csv(fresh / "trajectory.csv", TRAJECTORY_COLUMNS, progress.trajectory)
            write_checksummed(_reclusterings_table(ids, reclusterings), fresh / "assignments.parquet")


def _collapse(progress: Progress) -> Collapse | None:
    return collapse(progress.history[-1]) if progress.history else None


def _reclusterings_table(ids: list[str], reclusterings: dict[str, Tensor]) -> pa.Table:
    """Returns the columns `id`, `cluster` (the last one) and `cluster_at_epoch_N`, for each re-clustering.

    Epoch N + 1 is the first to learn from the latter.
    """
    columns: dict[str, np.ndarray] = {
        f"cluster_at_epoch_{epoch}": clusters_N.cpu().numpy() for epoch, clusters_N in reclusterings.items()
    }
    last = next(reversed(columns.values()))
    return pa.table({"id": pa.array(ids, pa.string()), "cluster": last, **columns})
