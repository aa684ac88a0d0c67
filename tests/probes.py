"""Points for the tests of the linear protocols."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.evaluation.linear_probe import LinearProbe

Rows = tuple[Tensor, Tensor]
"""Features (N, D) and classes (N,)."""


def blobs(count: int, dim: int, classes: int, spread: float, seed: int = 0) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(classes, dim, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(0, classes, (count,), generator=generator)
    return centers[labels] + spread * torch.randn(count, dim, generator=generator), labels


def few_of_each(counts: Sequence[int], dim: int, spread: float) -> tuple[Rows, Rows]:
    """Train rows, so many of each class, and ten test rows of each."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(len(counts), dim, generator=generator)
    numbers = torch.arange(len(counts))
    train, test = (numbers.repeat_interleave(each) for each in (torch.tensor(counts), 10))
    features = (
        centers[some] + spread * torch.randn(len(some), dim, generator=generator) for some in (train, test)
    )
    return (next(features), train), (next(features), test)


def accuracy(probe: LinearProbe, features_ND: Tensor, classes_N: Tensor) -> float:
    return float((probe.logits(features_ND).argmax(1) == classes_N).float().mean())
