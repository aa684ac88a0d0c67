"""Views of what a loader yields: made from pixels, or chosen among features that were computed before."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pipeline.augment.normalize import Normalizer
from pipeline.augment.views import Draws, central_views, random_views, views_at_once
from pipeline.config.pretrain import AugmentParams


class Views(Protocol):
    """Makes the inputs of an encoder from a loader's batch, on its device and without waiting for it."""

    def random(self, batch: tuple[Tensor, Tensor], seed: int, rows_N: Tensor, of: int) -> Tensor:
        """Returns one random view per image of a batch, as its rows `rows_N` of `of` views are drawn by
        `seed`. The first half of them are first views, the others second views of the same images."""
        ...

    def central(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns one view of the middle of each image."""
        ...

    def at_once(self, most: int) -> int:
        """Returns how many views, at most `most`, pass through the encoder at one time without a gradient."""
        ...


@dataclass(frozen=True)
class PixelViews:
    """Augmented crops, (N, 3, size, size) float32 and normalised."""

    size: int
    augment: AugmentParams
    normalize: Normalizer

    def random(self, batch: tuple[Tensor, Tensor], seed: int, rows_N: Tensor, of: int) -> Tensor:
        canvas_NCHW, sizes_N2 = batch
        return random_views(
            canvas_NCHW,
            sizes_N2,
            self.size,
            self.augment,
            seed,
            rows_N=rows_N,
            of=of,
            normalize=self.normalize,
        )

    def central(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        canvas_NCHW, sizes_N2 = batch
        return self.normalize(central_views(canvas_NCHW, sizes_N2, self.size))

    def at_once(self, most: int) -> int:
        return views_at_once(self.size, most)


class FeatureViews:
    """Features (N, D) float32 of views that a frozen network has seen, as `frozen_features` stores them."""

    def random(self, batch: tuple[Tensor, Tensor], seed: int, rows_N: Tensor, of: int) -> Tensor:
        """Two views of an image are never the same one."""
        features_NVD, _ = batch
        random_views = features_NVD.shape[1] - 1
        draws = Draws(torch.Generator(features_NVD.device).manual_seed(seed), of // 2)
        first_G = (draws.uniform() * random_views).long()
        second_G = (first_G + 1 + (draws.uniform() * (random_views - 1)).long()) % random_views
        chosen_N = 1 + torch.cat([first_G, second_G])[rows_N]
        return features_NVD[torch.arange(len(chosen_N), device=chosen_N.device), chosen_N].float()

    def central(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        features_NVD, _ = batch
        return features_NVD[:, 0].float()

    def at_once(self, most: int) -> int:
        return most
