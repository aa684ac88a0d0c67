"""The section `pretrain` and what is known of the images -> a trainer, with all of its weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from pipeline.augment import Normalizer
from pipeline.clustering.attributes import attribute_vectors
from pipeline.clustering.base import TrainImages
from pipeline.devices import compute_dtype
from pipeline.encoders.registry import build_encoder, build_plain_encoder, resolved_stem_stride
from pipeline.errors import UserError
from pipeline.machine import available_memory
from pipeline.objectives.base import Known
from pipeline.objectives.registry import OBJECTIVES
from pipeline.randomness import derived_seed
from pipeline.ranks import Ranks
from pipeline.training.demand import check_memory, check_steps
from pipeline.training.feed import Feed
from pipeline.training.loop import Trainer
from pipeline.training.network import Network
from pipeline.training.params import PretrainParams
from pipeline.training.step import batch_sizes
from pipeline.training.whitened_layers import Sample, fit_first_layer

Built = TypeVar("Built")


@dataclass(frozen=True)
class Clustered:
    """The clusters of a feed's images."""

    clusters_N: Tensor
    """int64, on the CPU."""
    recluster: dict[str, Any] | None = None
    """How they are remade in training; None: they stay."""


def build_trainer(
    params: PretrainParams,
    feed: Feed,
    clustered: Clustered,
    attributes_NA: Tensor | None,
    normalize: Normalizer,
    *,
    image_size: int,
    seed: int,
    device: torch.device,
    ranks: Ranks,
    title: str,
) -> Trainer:
    """`attributes_NA` only where the objective needs them: see `attributes_of`. Nothing is written.

    Raises `UserError` for what this machine cannot train, before it is tried.
    """
    check_steps(params, len(feed))
    stem_stride = resolved_stem_stride(params.encoder, params.stem_stride, image_size)
    remade = (clustered.recluster or {}).get("clusters", 0)
    known = Known(
        clusters=max(int(clustered.clusters_N.max()) + 1, remade),
        attributes=0 if attributes_NA is None else attributes_NA.shape[1],
    )
    kind = OBJECTIVES[params.objective]
    with torch.device("meta"):
        # Of plain layers: the faster ones need a device that computes.
        encoder = build_plain_encoder(params.encoder, stem_stride)
        planned = Network(encoder, kind.build(encoder.feature_dim, params, known))
    _, micro_batch = batch_sizes(params, len(feed), ranks)
    on_host = available_memory() // ranks.beside
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else on_host
    check_memory(params, planned, image_size, micro_batch // ranks.count, device, free)

    encoder = _with_seed(derived_seed(seed, "encoder"), lambda: build_encoder(params.encoder, stem_stride))
    fit_first_layer(encoder, Sample(feed, normalize, image_size, derived_seed(seed, "patches")))
    objective = _with_seed(
        derived_seed(seed, "objective"), lambda: kind.build(encoder.feature_dim, params, known)
    )
    return Trainer(
        Network(encoder, objective),
        feed,
        clustered.clusters_N,
        attributes_NA,
        normalize,
        params,
        image_size=image_size,
        recluster_settings=clustered.recluster,
        seed=seed,
        dtype=compute_dtype(params.precision, device),
        device=device,
        ranks=ranks,
        title=title,
    )


def attributes_of(params: PretrainParams, images: Path, ids: list[str]) -> Tensor:
    """(N, A) int8 of the train images `ids`, as `attribute_vectors` makes them.

    Raises `UserError` where the data has none.
    """
    train = TrainImages(images)
    names, vectors_NA = attribute_vectors(train)
    if not names:
        raise UserError(
            f"pretrain.objective={params.objective} learns from attributes, and the data has none that "
            "differs between images: name columns in ingest.columns.attributes or choose another objective"
        )
    row_of = {image: row for row, image in enumerate(train.ids.to_pylist())}
    return torch.from_numpy(vectors_NA[[row_of[image] for image in ids]])


def _with_seed(seed: int, build: Callable[[], Built]) -> Built:
    """torch's layers draw their weights from a global generator; it is lent to them and put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()
