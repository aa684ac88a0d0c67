"""Features and embeddings of the train images by the current weights.

Shape letters: N images, F features, D dimensions of the embeddings.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.runtime.seeding import derived_seed
from pipeline.training.context import TrainingContext
from pipeline.training.loaders.select import Loader
from pipeline.training.network import Network
from pipeline.training.representation import SAMPLED_IMAGES, representation_metrics
from pipeline.training.views import Views

EMBED_BATCH = 512

Seen = Callable[[tuple[Tensor, Tensor], Tensor], Tensor]
"""Function (a loader's batch, its places among all images that are evaluated) -> views."""


@dataclass(frozen=True)
class FeatureExtractor:
    """Encodes the loader's images in evaluation mode; the ranks share the work."""

    network: Network
    loader: Loader
    views: Views
    context: TrainingContext
    autocast: torch.autocast

    def embeddings(self) -> Tensor:
        """Returns normalised embeddings (N, D) float32 of all images' central views.

        They are the target network's if there is one.
        """
        images = torch.arange(len(self.loader))
        _, outputs_ND = self._encode(images, lambda batch, _: self.views.central(batch), of_target=True)
        return functional.normalize(outputs_ND, dim=1)

    def representation_metrics(self, epoch: int) -> dict[str, float]:
        """Computes the metrics of two random views of images from the whole set."""
        count = min(SAMPLED_IMAGES, len(self.loader))
        images = torch.linspace(0, len(self.loader) - 1, count).long()
        seed = derived_seed(self.context.seed, "health", epoch)

        def views_from(first: int) -> Seen:
            return lambda batch, places: self.views.random(batch, seed, first + places, 2 * count)

        features, outputs = zip(*(self._encode(images, views_from(f)) for f in (0, count)), strict=True)
        return representation_metrics(features, outputs)

    @torch.no_grad()
    def _encode(self, images_N: Tensor, seen_in: Seen, *, of_target: bool = False) -> tuple[Tensor, Tensor]:
        """Returns features (N, F) and embeddings (N, D), float32."""
        self.network.eval()
        target = self.network.target if of_target else None
        ranks = self.context.ranks
        each = -(-len(images_N) // ranks.world_size)
        places = torch.arange(ranks.rank * each, (ranks.rank + 1) * each)
        parts = places.clamp(max=len(images_N) - 1).split(self.views.at_once(EMBED_BATCH))
        features, outputs = [], []
        pixels = self.loader.batches([images_N[part] for part in parts])
        for part, batch in zip(parts, pixels, strict=True):
            seen = seen_in(batch, part.to(self.context.device))
            with self.autocast:
                if target is not None:
                    some_features, some_outputs = target(seen)
                else:
                    some_features, some_outputs = self.network(seen)
                    some_outputs = self.network.objective.embeddings_of(some_outputs)
            features.append(some_features.float())
            outputs.append(some_outputs.float())
        features_NF, outputs_ND = (ranks.all_gather(torch.cat(parts)) for parts in (features, outputs))
        return features_NF[: len(images_N)], outputs_ND[: len(images_N)]
