"""Estimates of the time and memory of a run with these parameters, from a few real steps."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

import torch

from pipeline.config.params import Params
from pipeline.config.pretrain import PretrainParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.doctor.base import Check, Situation, duration, fail, ok, size, warn
from pipeline.doctor.trial_run import MADE_UP_IMAGES, Request, Trial
from pipeline.runtime.device import pick_device
from pipeline.runtime.errors import UserError
from pipeline.runtime.resources import available_memory, let_idle_threads_sleep
from pipeline.storage.schema import CHOSEN, NOT_TRAINED, IngestSummary
from pipeline.storage.validation import read_json
from pipeline.training.loaders.select import loader_kind
from pipeline.training.representation import SAMPLED_IMAGES

EVALUATION, REFERENCE = "evaluation", "reference"
FLOATS_PER_FEATURE = 5
"""Approximate number of copies of a split's features in evaluation: standardised, rotated, scaled."""


@dataclass(frozen=True)
class Counts:
    """Numbers of images and classes; those of made-up images if nothing is ingested."""

    train: int
    test: int
    classes: int
    loader: str | None
    """None: nothing is ingested yet."""


@dataclass(frozen=True)
class Estimate:
    """Time and memory of one stage in one arm."""

    seconds: float
    low: float
    high: float
    """`low` and `high` are for the faster and the slower quartile of the measured steps."""
    host_bytes: int
    device_bytes: int
    images_per_second: float


class TrialFailed(Exception):
    """Raised if a trial does not finish; the message says why."""


def look(situation: Situation) -> Iterator[Check]:
    if situation.params is None:
        yield ok("not measured", "params.yaml is not valid")
        return
    if not situation.seconds:
        yield ok("not measured", "as --seconds=0 asks for")
        return
    try:
        device, counts = pick_device(), read_counts(situation)
    except UserError as error:
        yield fail("not measured", str(error), "fix that first.")
        return
    yield ok("measured on", _told_of(counts, situation.params, device))
    total = 0.0
    for what, arms in trials_of(situation.params):
        try:
            trial = run_trial(what, situation, counts)
        except TrialFailed as why:
            yield fail(_title(what, arms), str(why), _cure(what))
            return
        estimate = estimated(what, trial, situation.params, counts)
        total += len(arms) * estimate.seconds
        yield _checked(what, arms, trial, estimate, device)
        if what == EVALUATION and situation.params.pretrain.freeze == "all":
            seconds, check = _of_frozen_features(trial, situation.params.pretrain, counts)
            total += seconds
            yield check
    images = "" if counts.loader is not None else f" for {MADE_UP_IMAGES:,} images"
    yield ok("all together", f"{duration(total)}{images}, beside ingest, cluster, report and DVC's own work")


def trials_of(params: Params) -> Iterator[tuple[str, list[str]]]:
    """Yields the trials to run, and the arms that each represents."""
    references: list[str] = list(params.references)
    if params.pretrain.freeze == "all":
        # A linear layer is trained in seconds; the encoder's passes are those of an evaluation.
        yield EVALUATION, [CHOSEN, *references]
        return
    trained = [arm for arm in references if arm not in NOT_TRAINED]
    alike = params.pretrain == params.pretrain.of_references()
    yield CHOSEN, [CHOSEN, *(trained if alike else [])]
    if trained and not alike:
        yield REFERENCE, trained
    yield EVALUATION, [CHOSEN, *references]


def read_counts(situation: Situation) -> Counts:
    if not situation.ingested:
        return Counts(MADE_UP_IMAGES, MADE_UP_IMAGES // 4, 10, None)
    images = situation.layout.images
    train, test = (ImageSplit(images, split).shape for split in ("train", "test"))
    kind = loader_kind(len(train.ids) * train.image_bytes, pick_device())
    # Shared pixels are resident pixels of which one process has a part.
    kind = "resident" if kind == "sharded" else kind
    # Only the number of labels is needed.
    classes = len(read_json(situation.layout.ingest_summary, IngestSummary)["labels"])
    return Counts(len(train.ids), len(test.ids), classes, kind)


def _told_of(counts: Counts, params: Params, device: torch.device) -> str:
    on = "the GPU" if device.type == "cuda" else "the CPU"
    several = torch.cuda.device_count() if device.type == "cuda" else 1
    alone = f"; one of {several} GPUs, which share the work of a run" if several > 1 else ""
    if counts.loader is None:
        side = params.ingest.image_size
        return (
            f"{on}, {side} x {side} random pixels, as nothing is ingested yet: "
            f"all figures are for {MADE_UP_IMAGES:,} train images{alone}"
        )
    return f"{on}, some of {counts.train:,} train and {counts.test:,} test images{alone}"


def run_trial(what: str, situation: Situation, counts: Counts) -> Trial:
    """Runs a trial in a separate process. Raises `TrialFailed` with the reason."""
    assert situation.params is not None, "nothing is tried without parameters"
    request = Request(
        what,
        situation.params.model_dump(mode="json"),
        str(situation.layout.root),
        counts.loader,
        situation.seconds,
        time.time(),
        max(2, counts.classes),
    )
    let_idle_threads_sleep()  # for the process that is started, as in a stage
    # -P: import the package that runs here, not a folder of that name in the current folder.
    command = [sys.executable, "-P", "-m", "pipeline.doctor.trial_run"]
    ended = subprocess.run(  # noqa: S603 - our own module
        command, input=json.dumps(asdict(request)), capture_output=True, text=True, check=False
    )
    if ended.returncode < 0:
        raise TrialFailed(f"ended by signal {-ended.returncode}, most likely as the memory was not enough")
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["no word"])[-1]
        raise TrialFailed(last.removeprefix("error: "))
    values: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return Trial(**values)


def _cure(what: str) -> str:
    if what == EVALUATION:
        return "lower ingest.image_size, or evaluate on a machine with more memory."
    return "do what it says, or lower pretrain.batch_size or set pretrain.micro_batch."


def estimated(what: str, trial: Trial, params: Params, counts: Counts) -> Estimate:
    """Extrapolates from the measured sample to all images."""
    if what == EVALUATION:
        return _of_evaluation(trial, params, counts)
    pretrain = params.pretrain if what == CHOSEN else params.pretrain.of_references()
    return _of_training(trial, pretrain, counts)


def _of_training(trial: Trial, params: PretrainParams, counts: Counts) -> Estimate:
    grown = counts.train / trial.images
    steps = params.epochs * max(1, counts.train // trial.batch)
    forward = trial.embed / trial.images
    # After each epoch, two views of some images are embedded to detect a collapse.
    beside = trial.begin_epoch * grown + 2 * min(SAMPLED_IMAGES, counts.train) * forward
    every = params.recluster_every
    remakings = (params.epochs - 1) // every if every and trial.recluster else 0
    fixed = trial.start + trial.decode * grown + params.epochs * beside + remakings * trial.recluster * grown
    step = median(trial.steps)
    faster, _, slower = quantiles(trial.steps, n=4)
    more = _more_pixels(trial, counts)
    return Estimate(
        seconds=fixed + steps * step,
        low=fixed + steps * faster,
        high=fixed + steps * slower,
        host_bytes=trial.host_peak + trial.state + more,
        device_bytes=trial.device_peak + (more if counts.loader == "resident" else 0)
        if trial.device_peak
        else 0,
        images_per_second=trial.batch / step,
    )


def _of_evaluation(trial: Trial, params: Params, counts: Counts) -> Estimate:
    grown, images = counts.train / trial.images, counts.train + counts.test
    forward = trial.features / trial.images * images
    # The vote compares each test image with each train image.
    vote = trial.neighbours * grown * counts.test / trial.images
    fits = 1 + sum(params.evaluate.label_fractions)
    decode = 0.0 if counts.loader is None else trial.decode / trial.images * images
    seconds = (
        trial.start + decode + forward + (fits * trial.fit * grown + vote if counts.classes > 1 else 0.0)
    )
    more = max(0, max(counts.train, counts.test) - trial.images) * trial.image_bytes
    features = 4 * FLOATS_PER_FEATURE * trial.feature_dim * max(0, counts.train - trial.images)
    device = trial.device_peak and trial.device_peak + features
    return Estimate(
        seconds, seconds, seconds, trial.host_peak + more + (0 if device else features), device,
        images_per_second=trial.images / trial.features,
    )  # fmt: skip


def _of_frozen_features(trial: Trial, params: PretrainParams, counts: Counts) -> tuple[float, Check]:
    """Returns the seconds in which the stage `start` computes the features for all trainings, and says so."""
    views = 1 + params.frozen_views
    seconds = views * counts.train * trial.features / trial.images
    found = (
        f"{duration(seconds)} for {views} views of each train image, once for all arms and seeds; "
        "the trainings of the layer, which are not measured, take seconds an epoch"
    )
    return seconds, ok("start, with pretrain.freeze=all", found)


def _more_pixels(trial: Trial, counts: Counts) -> int:
    """Returns the bytes of the pixels beyond the sample, for a loader that keeps all pixels."""
    return 0 if counts.loader in (None, "streamed") else (counts.train - trial.images) * trial.image_bytes


def _checked(what: str, arms: list[str], trial: Trial, estimate: Estimate, device: torch.device) -> Check:
    title = _title(what, arms)
    each = " each" if len(arms) > 1 else ""
    spread = ""
    if not math.isclose(estimate.low, estimate.high, rel_tol=0.02):
        spread = f" ({duration(estimate.low)} to {duration(estimate.high)})"
    measured = f", {len(trial.steps)} steps of {trial.batch} images" if trial.steps else " encoded"
    memory = f"{size(estimate.host_bytes)} of memory"
    if estimate.device_bytes:
        memory = (
            f"{size(estimate.device_bytes)} of the GPU's memory, {size(estimate.host_bytes)} of the host's"
        )
    found = f"{duration(estimate.seconds)}{spread}{each}: {estimate.images_per_second:,.0f} images/s"
    found += f"{measured}; {memory}"
    if exceeds_memory(estimate, device):
        cure = "end other programs, set pretrain.micro_batch, or lower ingest.image_size."
        return fail(title, f"{found}, and less is free", cure)
    if exceeds_memory(estimate, device, share=0.8):
        cure = "end other programs or set pretrain.micro_batch, so that there is room to spare."
        return warn(title, f"{found}, of what is free nearly all", cure)
    return ok(title, found)


def exceeds_memory(estimate: Estimate, device: torch.device, share: float = 1.0) -> bool:
    """Returns whether the estimate exceeds this share of the free memory."""
    room = [(estimate.host_bytes, available_memory())]
    if device.type == "cuda":
        room.append((estimate.device_bytes, int(torch.cuda.mem_get_info(device)[0])))
    return any(requested > share * free for requested, free in room)


def _title(what: str, arms: list[str]) -> str:
    return f"{'evaluate' if what == EVALUATION else 'pretrain'} {', '.join(arms)}"
