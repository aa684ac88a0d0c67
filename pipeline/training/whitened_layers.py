"""Encoder weights that are computed from the train images, before and after training.

All ranks compute the same weights from a sample of the loader's images.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.encoders.base import Encoder
from pipeline.encoders.patches import PatchResNet, WhitenedPatches
from pipeline.encoders.whitening import fit, fit_features
from pipeline.training.loaders.select import Loader
from pipeline.training.views import Views

SAMPLED_IMAGES = 10_000
BATCH = 256


class Sample:
    """Central views of a sample of train images, drawn by `seed`."""

    def __init__(self, loader: Loader, views: Views, seed: int) -> None:
        self._loader, self._views, self.seed = loader, views, seed
        self._images_N = loader.shuffled(torch.Generator().manual_seed(seed))[:SAMPLED_IMAGES]

    def __len__(self) -> int:
        return len(self._images_N)

    def __iter__(self) -> Iterator[Tensor]:
        """Yields batches (B, 3, S, S) float32 on the loader's device."""
        for batch in self._loader.batches(self._images_N.split(self._views.at_once(BATCH))):
            yield self._views.central(batch)


def fit_first_layer(encoder: Encoder, sample: Sample) -> None:
    """Fits patch filters and the whitening of their responses, if the encoder has them. Precedes training."""

    def on_the_cpu() -> Iterator[Tensor]:
        return (views_BCSS.cpu() for views_BCSS in sample)

    for layer in encoder.modules():
        if isinstance(layer, WhitenedPatches):
            fit(layer, on_the_cpu, len(sample), sample.seed)


@torch.no_grad()
def fit_last_layer(encoder: Encoder, sample: Sample) -> None:
    """Fits the whitening of the features, if the encoder ends in such a layer. Follows training."""
    if isinstance(encoder.backbone, PatchResNet):
        encoder.eval()
        features_NF = torch.cat([encoder(views_BCSS) for views_BCSS in sample])
        fit_features(encoder.backbone.whitening, features_NF.cpu())
