"""The images of each step of an epoch. Shape letters: N train images, S steps, B images of a batch."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from pipeline.objectives.base import Batch
from pipeline.training.sampler import partners


@dataclass(frozen=True)
class Plan:
    """The images of each step of an epoch."""

    requested: list[Tensor]
    """This rank's images in each step, on the CPU, followed by those of the second views if they differ."""
    batches: list[Batch]
    """Data about this rank's first views in each step, on the device."""

    @classmethod
    def of(
        cls, own: list[Tensor], clusters_N: Tensor, attributes_NA: Tensor | None, device: torch.device
    ) -> Self:
        """Plans this rank's images (S, B) of each view. `attributes_NA` lie on the device."""
        # One copy per epoch: a copy in each step would make the host wait for the device.
        images_SB, clusters_SB = own[0].to(device), clusters_N[own[0]].to(device)
        known = [None if attributes_NA is None else attributes_NA[images_B] for images_B in images_SB]
        batches = [Batch(*values) for values in zip(images_SB, clusters_SB, known, strict=True)]
        return cls(list(torch.cat(own, dim=1)), batches)


def images_of_views(images_SB: Tensor, steps: int, clusters_N: Tensor, form: str, seed: int) -> list[Tensor]:
    """Returns the images (`steps`, B) of the first views, and with the form `pair` those of the second views.

    Re-clustering may change the number of batches: they are repeated, since the schedule keeps its length.
    """
    images_SB = images_SB.repeat(-(-steps // len(images_SB)), 1)[:steps]
    return [images_SB, partners(images_SB, clusters_N, seed)] if form == "pair" else [images_SB]
