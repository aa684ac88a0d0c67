"""SwAV in float64 with a few features and prototypes."""

from typing import Any

import torch
from torch import Tensor

from pipeline.config.objectives import SwavParams
from pipeline.objectives.swav import SwAV

CPU = torch.device("cpu")
FEATURES, DIM, PROTOTYPES = 6, 4, 7
TEMPERATURE = 0.3


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def objective(**params: Any) -> SwAV:
    torch.manual_seed(0)
    known = {"prototypes": PROTOTYPES, "epsilon": 0.2, "queue": 0, "queue_from": 0.0, "frozen_fraction": 0.0}
    return SwAV(FEATURES, DIM, TEMPERATURE, SwavParams(**{**known, **params})).double()
