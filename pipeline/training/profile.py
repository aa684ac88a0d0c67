"""Measures the time and memory of a training by running a few of its steps. Nothing is written."""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline.objectives.traits import reads_clusters
from pipeline.training.recluster import recluster
from pipeline.training.trainer import Trainer

STEPS_IN_A_ROW = 8
"""Number of GPU steps that are timed together, since a GPU works asynchronously."""
LEAST_STEPS, MOST_STEPS = 3, 200


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Times in seconds. All but `steps` and `state` grow with the number of images."""

    images: int
    batch: int = 0
    steps: list[float] = field(default_factory=list)
    """Time of each measured step, or the mean of several steps in a row."""
    embed: float = 0.0
    """One forward pass of all images."""
    begin_epoch: float = 0.0
    """The objective's work before an epoch."""
    recluster: float = 0.0
    """Recomputing the clusters; 0 if they stay the same."""
    state: int = 0
    """Size of a saved state in bytes; it is copied in host memory before it is written."""


def profile(trainer: Trainer, seconds: float) -> Profile:
    """Runs steps for about `seconds`, after some warm-up steps. The trainer cannot be used afterwards."""
    # The middle of a training, where queues and prototypes are in use.
    trainer.progress.epoch = epoch = trainer.params.epochs // 2
    device, seed = trainer.device, trainer.context.seed
    objective = trainer.network.objective
    return Profile(
        images=len(trainer.loader),
        batch=trainer.batch_size,
        embed=seconds_of(trainer.extractor.embeddings, device),
        begin_epoch=seconds_of(
            lambda: objective.begin_epoch(epoch, trainer.extractor.embeddings, trainer.ranks, seed), device
        ),
        steps=_steps(trainer, seconds),
        recluster=_recluster(trainer),
        state=_state_bytes(trainer),
    )


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _steps(trainer: Trainer, seconds: float) -> list[float]:
    measured: list[float] = []
    with closing(_endless_steps(trainer)) as steps:
        for _ in range(2):
            next(steps)  # warms up
        began = time.perf_counter()
        while len(measured) < LEAST_STEPS or (
            len(measured) < MOST_STEPS and time.perf_counter() - began < seconds
        ):
            measured.append(next(steps))
    return measured


def _endless_steps(trainer: Trainer) -> Generator[float, None, None]:
    """Yields the seconds per step, repeating one epoch endlessly."""
    in_a_row = STEPS_IN_A_ROW if trainer.device.type == "cuda" else 1
    trainer.network.train()
    plan = trainer.plan(trainer.progress.epoch)
    while True:
        trainer.progress.step = done = 0
        started = time.perf_counter()
        with closing(trainer.loader.batches(plan.requested)) as loaded:
            for pixels, batch in zip(loaded, plan.batches, strict=True):
                trainer.train_step(pixels, batch)
                done += 1
                if done == in_a_row or trainer.progress.step == len(plan.batches):
                    _wait(trainer.device)
                    yield (time.perf_counter() - started) / done
                    started, done = time.perf_counter(), 0


def _recluster(trainer: Trainer) -> float:
    settings = trainer.recluster_settings
    read = reads_clusters(trainer.params.objective, trainer.params.sampler)
    if settings is None or not read or trainer.params.recluster_every == 0:
        return 0.0
    # There may be fewer images than clusters, so the time for fewer clusters is scaled up.
    clusters = min(settings["clusters"], max(1, len(trainer.loader) // 2))
    before_N = torch.arange(len(trainer.loader)) % clusters

    def remake() -> None:
        recluster(trainer.extractor.embeddings(), before_N, settings | {"clusters": clusters}, 1, 0)

    times_as_many: float = settings["clusters"] / clusters
    return times_as_many * seconds_of(remake, trainer.device)


def _state_bytes(trainer: Trainer) -> int:
    kept = [value for values in trainer.optimizer.state.values() for value in values.values()]
    tensors = [*trainer.network.parameters(), *trainer.network.buffers(), *kept]
    return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))
