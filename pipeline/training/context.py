"""What every part of a training is given."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.runtime.distributed import ALONE, Ranks


@dataclass(frozen=True)
class TrainingContext:
    """What a training is of, beside `PretrainParams`, and where it runs."""

    arm: str
    seed: int
    image_size: int
    """Side of the views in pixels."""
    device: torch.device
    ranks: Ranks = ALONE

    @property
    def title(self) -> str:
        return f"pretrain {self.arm}"


@dataclass(frozen=True)
class Clustered:
    """The clusters of a loader's images."""

    clusters_N: Tensor
    """int64, on the CPU."""
    recluster: dict[str, Any] | None = None
    """k-means' settings, where clusters are recomputed during the training; None: they stay."""
