"""Stage 3: pixels and clusters -> an encoder. Labels are never read here."""

import copy
import hashlib
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.augment.normalize import Normalizer
from pipeline.config.pretrain import PretrainParams
from pipeline.dataset.assignments import Assignments, read_assignments
from pipeline.dataset.dataset import ImageDataset, ImageSplit
from pipeline.dataset.given_vectors import given_vectors
from pipeline.encoders.base import Encoder
from pipeline.encoders.config import EncoderConfig
from pipeline.encoders.registry import architecture_of
from pipeline.objectives.registry import OBJECTIVES
from pipeline.runtime.device import compute_dtype, device_name
from pipeline.runtime.errors import UserError
from pipeline.runtime.seeding import derived_seed
from pipeline.storage.files import state_root
from pipeline.storage.schema import CHOSEN, IngestSummary, Layout
from pipeline.storage.validation import check_ids
from pipeline.training.attribute_inputs import attributes_of
from pipeline.training.checkpoint import StateFolder, fingerprint
from pipeline.training.context import Clustered, TrainingContext
from pipeline.training.frozen_features import FrozenFeatures
from pipeline.training.launch import joined_ranks, start_processes
from pipeline.training.loaders.select import Loader, select_loader
from pipeline.training.malloc import limited_arenas
from pipeline.training.outputs import write_artifacts
from pipeline.training.setup import build_adapter_trainer, build_trainer
from pipeline.training.shutdown import StopRequest
from pipeline.training.start import Start, read_start
from pipeline.training.trackers import Trackers, tracker_names
from pipeline.training.trainer import Trainer
from pipeline.training.views import FeatureViews
from pipeline.training.whitened_layers import Sample, fit_last_layer


def pretrain(
    params: PretrainParams,
    arm: str,
    image_size: int,
    seed: int,
    layout: Layout,
    *,
    stored_size: int | None = None,
) -> None:
    """Trains the encoder of `arm` and writes `layout.encoder(arm)`.

    `image_size` is the side of the views in pixels; `stored_size` is `ingest.image_size`, if that is another.
    If there are several GPUs and no launcher, starts one process per GPU in place of this one. A stopped or
    killed run resumes. Raises `UserError` for inputs that do not fit.
    """
    start_processes()
    with joined_ranks() as (ranks, device):
        train(params, TrainingContext(arm, seed, image_size, device, ranks, stored_size), layout)


def train(params: PretrainParams, context: TrainingContext, layout: Layout) -> None:
    """Runs this rank's part of the training; the first rank writes the outputs."""
    arm, ranks = context.arm, context.ranks
    if arm != CHOSEN:
        params = params.of_references()
    stop = StopRequest()
    stop.listen()
    assignments = read_assignments(layout.assignments(arm))
    dataset = ImageDataset(layout.images)
    start = read_start(params, layout)
    choices = {
        "arm": arm,
        "image_size": context.image_size,
        "seed": context.seed,
        "pretrain": params.model_dump(),
    } | (start.provenance if start else {})
    teacher_ND = _teacher_vectors(params, dataset.train)
    if teacher_ND is not None:
        choices["teacher"] = {"sha256": hashlib.sha256(teacher_ND.tobytes()).hexdigest()}
    name = f"{arm}-{fingerprint(choices, [*dataset.train.shards, layout.assignments(arm)])}"
    states = StateFolder(state_root() / name)
    with ExitStack() as open_things:
        open_things.enter_context(states.locked(context.title, ranks, stop))
        open_things.enter_context(limited_arenas())
        trackers = Trackers(tracker_names() if ranks.is_main else [], state_root() / "live" / name)
        open_things.callback(trackers.close)
        positions = assigned_positions(assignments, layout.assignments(arm), dataset.train)
        if start and params.freeze == "all":
            loader: Loader = FrozenFeatures(start, dataset.train, positions, layout, context.device, ranks)
        else:
            loader = select_loader(dataset.train, positions, context.device, ranks=ranks)
        if teacher_ND is not None and positions is not None:
            teacher_ND = teacher_ND[positions]
        trainer = _build(params, context, dataset, loader, assignments, start, teacher_ND)
        trainer.run(states, stop, trackers)
        encoder = _encoder_of(trainer, start)
        if not ranks.is_main:
            return
        provenance = choices | {
            "epochs": params.epochs,
            "train_images": len(loader),
            "device": device_name(context.device),
            "precision": str(compute_dtype(params.precision, context.device)).removeprefix("torch."),
        }
        write_artifacts(
            layout.encoder(arm),
            encoder,
            _encoder_config(params, context, encoder.feature_dim, dataset.summary, start),
            provenance,
            dataset.summary,
            trainer.progress,
            loader.ids,
            trainer.reclusterings,
            OBJECTIVES[params.objective].beside_published,
        )
        if states.has_waiters:
            trainer.save(states)
        else:
            states.discard()


def assigned_positions(assignments: Assignments, path: Path, train: ImageSplit) -> list[int] | None:
    """Returns the positions of the images that have a cluster, or None if all have one.

    `cluster.missing=drop` leaves some images without a cluster. `path` is the assignments file, for the error
    message.
    """
    ids = train.ids.to_pylist()
    if assignments.ids == ids:
        return None
    position_of = {image: position for position, image in enumerate(ids)}
    check_ids(path, assignments.ids, position_of, train.folder)
    return [position_of[image] for image in assignments.ids]


def _build(
    params: PretrainParams,
    context: TrainingContext,
    dataset: ImageDataset,
    loader: Loader,
    assignments: Assignments,
    start: Start | None,
    teacher_ND: NDArray[np.float16] | None,
) -> Trainer:
    if len(loader) < 2:
        raise UserError(f"pretraining needs at least 2 train images, and {dataset.folder} has {len(loader)}")
    clustered = Clustered(torch.from_numpy(np.array(assignments.clusters_N)), assignments.recluster)
    attributes_NA = attributes_of(params, dataset.train, loader.ids)
    teacher_NT = None if teacher_ND is None else torch.from_numpy(teacher_ND)
    if isinstance(loader, FrozenFeatures):
        return build_adapter_trainer(params, loader, clustered, attributes_NA, context, teacher_NT)
    prepared = start.config.model_dump() if start else dataset.summary
    normalizer = Normalizer(prepared["mean"], prepared["std"], context.device)
    return build_trainer(params, loader, clustered, attributes_NA, normalizer, context, start, teacher_NT)


def _teacher_vectors(params: PretrainParams, train: ImageSplit) -> NDArray[np.float16] | None:
    """Returns the vectors of `pretrain.teacher` for all train images, or None without a teacher."""
    if (named := params.teacher.vectors) is None:
        return None
    return given_vectors(named, train, "pretrain.teacher.vectors").astype(np.float16)


def _encoder_of(trainer: Trainer, start: Start | None) -> Encoder:
    """Returns the encoder to write."""
    # A copy, since a waiting process resumes from the network as training left it.
    encoder: Encoder = copy.deepcopy(trainer.network.encoder)
    if start and isinstance(trainer.views, FeatureViews):
        return start.below(encoder)
    seed = derived_seed(trainer.context.seed, "features")
    fit_last_layer(encoder, Sample(trainer.loader, trainer.views, seed))
    return encoder


def _encoder_config(
    params: PretrainParams,
    context: TrainingContext,
    feature_dim: int,
    summary: IngestSummary,
    start: Start | None,
) -> EncoderConfig:
    if start:
        # Images are prepared as the weights require.
        return start.config.model_copy(update={"weights_sha256": None, "has_adapter": params.freeze == "all"})
    architecture = architecture_of(params.encoder, params.stem_stride, context.image_size)
    return EncoderConfig(
        encoder=params.encoder,
        stem_stride=architecture.stem_stride,
        feature_dim=feature_dim,
        image_size=context.image_size,
        stored_size=context.stored_size,
        mean=summary["mean"],
        std=summary["std"],
        value_range=summary["value_range"],
    )
