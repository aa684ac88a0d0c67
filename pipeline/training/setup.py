"""Builds a trainer, with all of its weights, from the section `pretrain` and the data."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from pipeline.augment.normalize import Normalizer
from pipeline.config.pretrain import PretrainParams
from pipeline.encoders.adapter import identity_layer
from pipeline.encoders.base import Architecture, Encoder
from pipeline.encoders.layers import freeze_first
from pipeline.encoders.registry import architecture_of, build_encoder, build_plain_encoder
from pipeline.encoders.timm_models import checkpoint_gradients
from pipeline.objectives.base import DataInfo, Loss
from pipeline.objectives.registry import OBJECTIVES
from pipeline.objectives.teacher import WithTeacher
from pipeline.runtime.errors import UserError, shown
from pipeline.runtime.resources import available_memory
from pipeline.runtime.seeding import derived_seed
from pipeline.training.context import Clustered, TrainingContext
from pipeline.training.demand import check_memory, check_steps
from pipeline.training.frozen_features import FrozenFeatures
from pipeline.training.loaders.select import Loader
from pipeline.training.network import Network
from pipeline.training.start import Start
from pipeline.training.step import batch_sizes
from pipeline.training.trainer import Trainer
from pipeline.training.views import FeatureViews, PixelViews
from pipeline.training.whitened_layers import Sample, fit_first_layer

Built = TypeVar("Built")


def build_trainer(
    params: PretrainParams,
    loader: Loader,
    clustered: Clustered,
    attributes_NA: Tensor | None,
    normalize: Normalizer,
    context: TrainingContext,
    start: Start | None = None,
    teacher_NT: Tensor | None = None,
) -> Trainer:
    """Builds a trainer; writes nothing.

    `attributes_NA` is given only if the objective needs it: see `attribute_inputs`; `start` holds the weights
    to start from, if any, and `teacher_NT` the vectors of `pretrain.teacher`. Raises `UserError` for a
    training that this machine cannot run, before it is tried.
    """
    device, ranks, image_size, seed = context.device, context.ranks, context.image_size, context.seed
    check_steps(params, len(loader))
    architecture = architecture_of(params.encoder, params.stem_stride, image_size)
    if start:
        architecture = start.config.architecture
    views = PixelViews(image_size, params.augment, normalize)
    known, kind = _known(clustered, attributes_NA), OBJECTIVES[params.objective]
    with torch.device("meta"):
        # Plain layers, since the faster ones need a device that computes.
        encoder = _buildable(architecture)
        planned = Network(encoder, kind.build(encoder.feature_dim, params, known))
    _, micro_batch = batch_sizes(params, len(loader), ranks)
    on_host = available_memory() // ranks.local_world_size
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else on_host
    check_memory(params, planned, image_size, micro_batch // ranks.world_size, device, free)

    encoder = _with_seed(derived_seed(seed, "encoder"), lambda: build_encoder(architecture))
    if start:
        start.load_into(encoder)
    else:
        fit_first_layer(encoder, Sample(loader, views, derived_seed(seed, "patches")))
    if params.freeze != "all" and params.freeze > 0:
        freeze_first(encoder, params.freeze)
    if params.gradient_checkpointing:
        checkpoint_gradients(encoder.train())
    objective = _objective(encoder.feature_dim, params, known, teacher_NT, seed)
    return Trainer(
        Network(encoder, objective),
        loader,
        clustered,
        attributes_NA,
        views,
        params,
        context,
    )


def build_adapter_trainer(
    params: PretrainParams,
    features: FrozenFeatures,
    clustered: Clustered,
    attributes_NA: Tensor | None,
    context: TrainingContext,
    teacher_NT: Tensor | None = None,
) -> Trainer:
    """Builds a trainer of the linear layer above an encoder that stays as it is, from its features.

    The trainer's encoder is that layer. Otherwise like `build_trainer`.
    """
    check_steps(params, len(features))
    known = _known(clustered, attributes_NA)
    encoder = Encoder(identity_layer(features.feature_dim), features.feature_dim)
    objective = _objective(encoder.feature_dim, params, known, teacher_NT, context.seed)
    return Trainer(
        Network(encoder, objective), features, clustered, attributes_NA, FeatureViews(), params, context
    )


def _objective(
    feature_dim: int, params: PretrainParams, known: DataInfo, teacher_NT: Tensor | None, seed: int
) -> Loss:
    build = partial(OBJECTIVES[params.objective].build, feature_dim, params, known)
    objective: Loss = _with_seed(derived_seed(seed, "objective"), build)
    if teacher_NT is None:
        return objective
    above = partial(WithTeacher, objective, feature_dim, teacher_NT, params.teacher.weight)
    return _with_seed(derived_seed(seed, "teacher"), above)


def _known(clustered: Clustered, attributes_NA: Tensor | None) -> DataInfo:
    remade = (clustered.recluster or {}).get("clusters", 0)
    return DataInfo(
        clusters=max(int(clustered.clusters_N.max()) + 1, remade),
        attributes=0 if attributes_NA is None else attributes_NA.shape[1],
    )


def _buildable(architecture: Architecture) -> Encoder:
    """Builds an encoder. Raises `UserError` for a network that timm does not know, or no such image size."""
    try:
        return build_plain_encoder(architecture)
    except ValueError as error:
        raise UserError(f"pretrain.encoder={shown(architecture.name)}: {error}") from None


def _with_seed(seed: int, build: Callable[[], Built]) -> Built:
    """Calls `build` with torch's global generator, which draws weights, seeded; restores the generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()
