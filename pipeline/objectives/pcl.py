"""PCL: a view identifies its image among others, and its prototype among those of other clusters.

Li et al., arXiv 2005.04966. Shape letters: I train images; B images of this rank, N views of it; D dimensions
of an embedding; M clusterings; K prototypes of one, S of all together; R prototypes that are drawn.
"""

from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.config.objectives import PclParams
from pipeline.config.pretrain import PretrainParams
from pipeline.kmeans import KMeans, fit_kmeans_each
from pipeline.objectives.base import Batch, DataInfo, Embed, StepInfo
from pipeline.objectives.moco import MoCo
from pipeline.runtime.distributed import Ranks
from pipeline.runtime.seeding import derived_seed

LOWEST_SHARE = 0.01
"""Lower bound on a concentration, as a share of the mean: it is 0 for images that coincide, and logits are
divided by it."""
POINTS_AT_ONCE = 1 << 16


class PCL(MoCo):
    """InfoNCE with a target network and a queue, plus ProtoNCE, the mean over several clusterings.

    An image's own keys are its only positives, including older ones in the queue. Clusters are recomputed
    before each epoch from the target network's embeddings, once the warm-up is over. A clustering has at most
    half as many clusters as there are images; numbers of clusters that become equal by this count once.
    """

    beside_published: ClassVar[str] = (
        "The published loss, averaged over both views as queries, with a queue that begins empty. "
        "Negative prototypes are drawn from all but the image's own, each once; the published code takes "
        "those of the batch's images as often as they occur, the image's own among them. Earlier keys of "
        "the same image are positives and not negatives."
    )

    _prototypes_SD: Tensor
    _phi_S: Tensor
    _owns_MI: Tensor
    """Index of each image's own prototype in each clustering."""

    def __init__(
        self, feature_dim: int, projection_dim: int, temperature: float, params: PclParams, *, epochs: int
    ) -> None:
        super().__init__(
            feature_dim, projection_dim, temperature, queue=params.queue, momentum=params.momentum
        )
        self.params, self.epochs = params, epochs
        self._seed = self._step = 0
        # Their shapes change, so they are saved as extra state; as buffers they move between devices.
        self.register_buffer("_prototypes_SD", torch.zeros(0, projection_dim), persistent=False)
        self.register_buffer("_phi_S", torch.zeros(0), persistent=False)
        self.register_buffer("_owns_MI", torch.zeros(0, 0, dtype=torch.int64), persistent=False)
        self._sizes: list[int] = []
        """Number of prototypes of each clustering; empty while there is none."""

    @classmethod
    def build(cls, feature_dim: int, params: PretrainParams, _known: DataInfo) -> Self:
        return cls(feature_dim, params.projection_dim, params.temperature, params.pcl, epochs=params.epochs)

    def begin_epoch(self, epoch: int, embed: Embed, ranks: Ranks, seed: int) -> None:
        self._seed, self._sizes = seed, []
        # Divided, not multiplied, since 0.07 * 100 is above 7 in floating point.
        if epoch / self.epochs < self.params.warmup_fraction:
            return
        embeddings_ID = embed()
        # One rank clusters for all, since sums on a GPU differ in their last digits from run to run.
        if ranks.is_main:
            self._cluster(embeddings_ID)
        self._sizes = ranks.broadcast_object(self._sizes)
        if not ranks.is_main:
            prototypes, (images, dim) = sum(self._sizes), embeddings_ID.shape
            self._prototypes_SD = embeddings_ID.new_empty(prototypes, dim)
            self._phi_S = embeddings_ID.new_empty(prototypes)
            self._owns_MI = embeddings_ID.new_empty(len(self._sizes), images, dtype=torch.int64)
        self._prototypes_SD = ranks.broadcast(self._prototypes_SD)
        self._phi_S = ranks.broadcast(self._phi_S)
        self._owns_MI = ranks.broadcast(self._owns_MI)

    def begin_step(self, step_info: StepInfo) -> None:
        self._step = step_info.step

    def get_extra_state(self) -> dict[str, Any]:
        return {
            "seed": self._seed,
            "sizes": self._sizes,
            "prototypes": self._prototypes_SD,
            "phi": self._phi_S,
            "owns": self._owns_MI,
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        device = self.queue.rows.device
        self._seed, self._sizes = state["seed"], list(state["sizes"])
        self._prototypes_SD = state["prototypes"].to(device)
        self._phi_S, self._owns_MI = state["phi"].to(device), state["owns"].to(device)

    def _ids_B(self, batch: Batch) -> Tensor:
        return batch.images_B

    def _losses_N(self, queries_ND: Tensor, keys_ND: Tensor, batch: Batch) -> Tensor:
        """Adds ProtoNCE to the loss of each view; all views and ranks have the same drawn negatives."""
        losses_N = super()._losses_N(queries_ND, keys_ND, batch)
        if not self._sizes:
            return losses_N
        seed = derived_seed(self._seed, "negatives", self._step)
        generator = torch.Generator(queries_ND.device).manual_seed(seed)
        parts = zip(
            self._prototypes_SD.to(queries_ND.dtype).split(self._sizes),
            self._phi_S.to(queries_ND.dtype).split(self._sizes),
            self._owns_MI,
            strict=True,
        )
        for prototypes_KD, phi_K, own_I in parts:
            own_N = own_I[batch.images_B].repeat(2)
            drawn_R = drawn(len(phi_K), self.params.negatives, generator)
            of_prototypes_N = proto_nce(queries_ND, prototypes_KD, phi_K, own_N, drawn_R)
            losses_N = losses_N + of_prototypes_N / len(self._sizes)
        return losses_N

    def _cluster(self, embeddings_ID: Tensor) -> None:
        most = max(1, len(embeddings_ID) // 2)
        counts = list(dict.fromkeys(min(count, most) for count in self.params.clusters))
        fitted = fit_kmeans_each(
            embeddings_ID, counts, max_iter=self.params.max_iter, n_init=1, seed=self._seed
        )
        smoothing, temperature = self.params.smoothing, self.temperature
        self._sizes = [len(each.centroids_KD) for each in fitted]
        self._prototypes_SD = functional.normalize(torch.cat([each.centroids_KD for each in fitted]), dim=1)
        self._phi_S = torch.cat(
            [concentrations(embeddings_ID, each, smoothing, temperature) for each in fitted]
        )
        self._owns_MI = torch.stack([each.labels_N for each in fitted])


def concentrations(points_ID: Tensor, fitted: KMeans, smoothing: float, temperature: float) -> Tensor:
    """Returns the concentration of each cluster's images, (K,), scaled to the mean `temperature`.

    Equation 12: the mean distance to the centroid, not squared, over log(images + smoothing). As in the
    published code, a cluster of one image takes the largest value of the others, and all are clipped to their
    10th and 90th percentile before they are scaled.
    """
    centroids_KD, labels_I = fitted.centroids_KD, fitted.labels_N
    parts = zip(points_ID.split(POINTS_AT_ONCE), labels_I.split(POINTS_AT_ONCE), strict=True)
    distances_I = torch.cat([(points - centroids_KD[labels]).norm(dim=1) for points, labels in parts])
    counts_K = torch.bincount(labels_I, minlength=len(centroids_KD)).to(distances_I.dtype)
    sums_K = distances_I.new_zeros(len(centroids_KD)).index_add_(0, labels_I, distances_I)
    phi_K = sums_K / counts_K / (counts_K + smoothing).log()
    alone_K = counts_K == 1
    phi_K = phi_K.where(~alone_K, phi_K.masked_fill(alone_K, 0).max())
    low, high = phi_K.quantile(phi_K.new_tensor([0.1, 0.9]))
    phi_K = phi_K.clamp(low, high)
    mean = phi_K.mean()
    phi_K = phi_K.clamp(min=LOWEST_SHARE * mean) if mean > 0 else torch.ones_like(phi_K)
    return phi_K * (temperature / phi_K.mean())


def drawn(prototypes: int, negatives: int, generator: torch.Generator) -> Tensor:
    """Draws distinct numbers below `prototypes` in random order, (R,).

    It draws one more than `negatives`, if there are enough, since a query's own prototype is not a negative.
    """
    return torch.randperm(prototypes, generator=generator, device=generator.device)[: negatives + 1]


def proto_nce(
    queries_ND: Tensor, prototypes_KD: Tensor, phi_K: Tensor, own_N: Tensor, drawn_R: Tensor
) -> Tensor:
    """Returns, for each query, -log(exp s_own / (exp s_own + sum_j exp s_j)), s_c = q c / phi_c: (N,).

    This is the second term of equation 11. Both sides are normalised. The negatives j are the drawn
    prototypes without the query's own or, if that is not drawn, without the last one: every query has the
    same number. (The published code adds the prototypes of the batch's other images.)
    """
    own_logit_N = (queries_ND * prototypes_KD[own_N]).sum(dim=1) / phi_K[own_N]
    logits_NR = queries_ND @ prototypes_KD[drawn_R].T / phi_K[drawn_R]
    left_out_NR = drawn_R == own_N[:, None]
    left_out_NR[:, -1] |= ~left_out_NR.any(dim=1)
    negatives_NR = logits_NR.masked_fill(left_out_NR, -torch.inf)
    return torch.cat([own_logit_N[:, None], negatives_NR], dim=1).logsumexp(dim=1) - own_logit_N
