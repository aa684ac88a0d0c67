"""Points for the tests of the linear protocols."""

import torch


def blobs(
    count: int, dim: int, classes: int, spread: float, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(classes, dim, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(0, classes, (count,), generator=generator)
    return centers[labels] + spread * torch.randn(count, dim, generator=generator), labels
