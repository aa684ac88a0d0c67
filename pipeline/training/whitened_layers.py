"""Weights that an encoder takes from the train images before any training."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.augment import Normalizer, central_views
from pipeline.encoders.base import Encoder
from pipeline.encoders.patches import WhitenedPatches
from pipeline.encoders.whitening import fit
from pipeline.training.feed import Feed

SAMPLED_IMAGES = 10_000
BATCH = 256


def fit_whitened_layers(
    encoder: Encoder, feed: Feed, normalize: Normalizer, image_size: int, seed: int
) -> None:
    """Sets the filters and the whitening of an encoder that has such; others stay as they are.

    All ranks compute the same from a sample of the feed's images.
    """
    sample_N = feed.shuffled(torch.Generator().manual_seed(seed))[:SAMPLED_IMAGES]

    def views() -> Iterator[Tensor]:
        for canvas_BCHW, sizes_B2 in feed.batches(sample_N.split(BATCH)):
            yield normalize(central_views(canvas_BCHW, sizes_B2, image_size)).cpu()

    for layer in encoder.modules():
        if isinstance(layer, WhitenedPatches):
            fit(layer, views, len(sample_N), seed)
