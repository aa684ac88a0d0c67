"""Stage 3: pixels and clusters -> an encoder. Labels are never read here."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

import numpy as np
import torch

from pipeline.augment import Normalizer
from pipeline.clustering.assignments import Assignments, read_assignments
from pipeline.clustering.attributes import attribute_vectors
from pipeline.clustering.base import TrainImages
from pipeline.devices import compute_dtype, device_name
from pipeline.encoders import build_encoder, resolved_stem_stride
from pipeline.errors import UserError
from pipeline.files import read_json, state_root
from pipeline.objectives.base import Known
from pipeline.objectives.registry import OBJECTIVES
from pipeline.randomness import derived_seed
from pipeline.ranks import Ranks
from pipeline.schema import CHOSEN, Layout
from pipeline.shards import read_columns, shard_paths
from pipeline.training.artifacts import EncoderConfig, write_artifacts
from pipeline.training.feed import Feed, choose_feed
from pipeline.training.launch import joined_ranks, start_processes
from pipeline.training.loop import Trainer
from pipeline.training.memory import kept_memory
from pipeline.training.network import Network
from pipeline.training.params import PretrainParams
from pipeline.training.signals import StopRequest, end_with_dvc
from pipeline.training.state import StateFolder, fingerprint
from pipeline.training.trackers import Trackers, tracker_names

Built = TypeVar("Built")


def pretrain(params: PretrainParams, arm: str, image_size: int, seed: int, layout: Layout) -> None:
    """Trains the encoder of `arm` and writes `layout.encoder(arm)`.

    Where there are several GPUs and no launcher, this process becomes one a GPU. A run that was stopped or
    killed goes on where it was. Raises `UserError` for inputs that don't fit.
    """
    end_with_dvc()
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
    name = f"{arm}-{fingerprint(choices, inputs)}"
    states = StateFolder(state_root() / name)
    with ExitStack() as open_things:
        if ranks.first:
            open_things.enter_context(states.locked())
        open_things.enter_context(kept_memory())
        trackers = Trackers(tracker_names() if ranks.first else [], state_root() / "live" / name)
        open_things.callback(trackers.close)
        feed = choose_feed(layout.images, "train", _assigned(assignments, arm, layout), device, ranks=ranks)
        trainer, config = _build(params, arm, image_size, seed, layout, device, ranks, feed, assignments)
        trainer.run(states, stop, trackers)
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
            trainer.network.encoder,
            config,
            provenance,
            read_json(layout.ingest_summary),
            trainer.progress,
            feed.ids,
            trainer.reclusterings,
        )
        states.discard()


def _assigned(assignments: Assignments, arm: str, layout: Layout) -> list[int] | None:
    """Where the images that have a cluster stand; `cluster.missing=drop` leaves some without. None: all."""
    ids = read_columns(layout.images, "train", ["id"]).column("id").to_pylist()
    if assignments.ids == ids:
        return None
    position_of = {image: position for position, image in enumerate(ids)}
    if not set(assignments.ids) <= set(position_of):
        raise UserError(
            f"{layout.assignments(arm)} lists images that {layout.images} lacks: run `dvc repro`, which "
            "makes both anew"
        )
    return [position_of[image] for image in assignments.ids]


def _build(
    params: PretrainParams,
    arm: str,
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
    summary = read_json(layout.ingest_summary)
    stem_stride = resolved_stem_stride(params.stem_stride, image_size)
    encoder = _with_seed(derived_seed(seed, "encoder"), lambda: build_encoder(params.encoder, stem_stride))
    kind = OBJECTIVES[params.objective]
    attributes_NA = _attributes(params, layout, feed.ids) if kind.needs_attributes else None
    known = Known(
        clusters=max(int(assignments.clusters_N.max()) + 1, (assignments.recluster or {}).get("clusters", 0)),
        attributes=0 if attributes_NA is None else attributes_NA.shape[1],
    )
    objective = _with_seed(
        derived_seed(seed, "objective"), lambda: kind.build(encoder.feature_dim, params, known)
    )
    trainer = Trainer(
        Network(encoder, objective),
        feed,
        torch.from_numpy(np.array(assignments.clusters_N)),
        attributes_NA,
        Normalizer(summary["mean"], summary["deviation"], device),
        params,
        image_size=image_size,
        recluster_settings=assignments.recluster,
        seed=seed,
        dtype=compute_dtype(params.precision, device),
        device=device,
        ranks=ranks,
        title=f"pretrain {arm}",
    )
    config = EncoderConfig(
        params.encoder, stem_stride, encoder.feature_dim, image_size, summary["mean"], summary["deviation"]
    )
    return trainer, config


def _attributes(params: PretrainParams, layout: Layout, ids: list[str]) -> torch.Tensor:
    """(N, A) int8 of the images `ids`: see `attribute_vectors`. Raises `UserError` where there is none."""
    train = TrainImages(layout.images)
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
