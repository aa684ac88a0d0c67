"""The context that all parts of a training share."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.runtime.distributed import ALONE, Ranks


@dataclass(frozen=True)
class TrainingContext:
    """What defines a training besides `PretrainParams`, and where it runs."""

    arm: str
    seed: int
    image_size: int
    """Side of the views in pixels."""
    device: torch.device
    ranks: Ranks = ALONE
    stored_size: int | None = None
    """`ingest.image_size`, if it is not `image_size`."""

    @property
    def title(self) -> str:
        return f"pretrain {self.arm}"


@dataclass(frozen=True)
class Clustered:
    """The clusters of a loader's images."""

    clusters_N: Tensor
    """int64, on the CPU."""
    recluster: dict[str, Any] | None = None
    """Settings of k-means if clusters are recomputed during training; None if they stay the same."""
