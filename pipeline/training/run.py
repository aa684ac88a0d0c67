"""Stage 3: pixels and clusters -> an encoder. Labels are never read here."""

import copy
from contextlib import ExitStack

import numpy as np
import torch

from pipeline.augment import Normalizer
from pipeline.borders import check_ids, read_json
from pipeline.clustering.assignments import Assignments, read_assignments
from pipeline.devices import compute_dtype, device_name
from pipeline.encoders.config import EncoderConfig
from pipeline.encoders.registry import resolved_stem_stride
from pipeline.errors import UserError
from pipeline.files import state_root
from pipeline.objectives.registry import OBJECTIVES
from pipeline.randomness import derived_seed
from pipeline.ranks import Ranks
from pipeline.schema import CHOSEN, IngestSummary, Layout
from pipeline.shards import read_columns, shard_paths
from pipeline.training.artifacts import write_artifacts
from pipeline.training.build import Clustered, attributes_of, build_trainer
from pipeline.training.feed import Feed, choose_feed
from pipeline.training.launch import joined_ranks, start_processes
from pipeline.training.loop import Trainer
from pipeline.training.memory import kept_memory
from pipeline.training.params import PretrainParams
from pipeline.training.signals import StopRequest
from pipeline.training.state import StateFolder, fingerprint
from pipeline.training.trackers import Trackers, tracker_names
from pipeline.training.whitened_layers import Sample, fit_last_layer


def pretrain(params: PretrainParams, arm: str, image_size: int, seed: int, layout: Layout) -> None:
    """Trains the encoder of `arm` and writes `layout.encoder(arm)`.

    Where there are several GPUs and no launcher, this process becomes one a GPU. A run that was stopped or
    killed goes on where it was. Raises `UserError` for inputs that don't fit.
    """
    start_processes()
    with joined_ranks() as (ranks, device):
        train(params, arm, image_size, seed, layout, ranks, device)


def train(
    params: PretrainParams,
    arm: str,
    image_size: int,
    seed: int,
    layout: Layout,
    ranks: Ranks,
    device: torch.device,
) -> None:
    """This rank's part in it; the first one writes."""
    if arm != CHOSEN:
        params = params.of_references()
    stop = StopRequest()
    stop.listen()
    assignments = read_assignments(layout.assignments(arm))
    choices = {"arm": arm, "image_size": image_size, "seed": seed, "pretrain": params.model_dump()}
    inputs = [*shard_paths(layout.images, "train"), layout.assignments(arm)]
    title, name = f"pretrain {arm}", f"{arm}-{fingerprint(choices, inputs)}"
    states = StateFolder(state_root() / name)
    with ExitStack() as open_things:
        open_things.enter_context(states.locked(title, ranks, stop))
        open_things.enter_context(kept_memory())
        trackers = Trackers(tracker_names() if ranks.first else [], state_root() / "live" / name)
        open_things.callback(trackers.close)
        feed = choose_feed(
            layout.images, "train", assigned_positions(assignments, arm, layout), device, ranks=ranks
        )
        trainer, config = _build(params, title, image_size, seed, layout, device, ranks, feed, assignments)
        trainer.run(states, stop, trackers)
        # A copy, as a process that waits resumes from the network as training left it.
        encoder = copy.deepcopy(trainer.network.encoder)
        sample = Sample(feed, trainer.normalize, image_size, derived_seed(seed, "features"))
        fit_last_layer(encoder, sample)
        if not ranks.first:
            return
        provenance = choices | {
            "epochs": params.epochs,
            "train_images": len(feed),
            "device": device_name(device),
            "precision": str(compute_dtype(params.precision, device)).removeprefix("torch."),
        }
        write_artifacts(
            layout.encoder(arm),
            encoder,
            config,
            provenance,
            read_json(layout.ingest_summary, IngestSummary),
            trainer.progress,
            feed.ids,
            trainer.reclusterings,
            trainer.network.objective.beside_published,
        )
        if states.has_waiters:
            trainer.save(states)
        else:
            states.discard()


def assigned_positions(assignments: Assignments, arm: str, layout: Layout) -> list[int] | None:
    """Where the images that have a cluster stand; `cluster.missing=drop` leaves some without. None: all."""
    ids = read_columns(layout.images, "train", ["id"]).column("id").to_pylist()
    if assignments.ids == ids:
        return None
    position_of = {image: position for position, image in enumerate(ids)}
    check_ids(layout.assignments(arm), assignments.ids, position_of, layout.images)
    return [position_of[image] for image in assignments.ids]


def _build(
    params: PretrainParams,
    title: str,
    image_size: int,
    seed: int,
    layout: Layout,
    device: torch.device,
    ranks: Ranks,
    feed: Feed,
    assignments: Assignments,
) -> tuple[Trainer, EncoderConfig]:
    if len(feed) < 2:
        raise UserError(f"pretraining needs at least 2 train images, and {layout.images} has {len(feed)}")
    summary = read_json(layout.ingest_summary, IngestSummary)
    kind = OBJECTIVES[params.objective]
    trainer = build_trainer(
        params,
        feed,
        Clustered(torch.from_numpy(np.array(assignments.clusters_N)), assignments.recluster),
        attributes_of(params, layout.images, feed.ids) if kind.needs_attributes else None,
        Normalizer(summary["mean"], summary["deviation"], device),
        image_size=image_size,
        seed=seed,
        device=device,
        ranks=ranks,
        title=title,
    )
    stem_stride = resolved_stem_stride(params.encoder, params.stem_stride, image_size)
    config = EncoderConfig(
        encoder=params.encoder,
        stem_stride=stem_stride,
        feature_dim=trainer.network.encoder.feature_dim,
        image_size=image_size,
        mean=summary["mean"],
        deviation=summary["deviation"],
        value_range=summary["value_range"],
    )
    return trainer, config
