"""`clinfonce doctor --minutes`: image size, network, batch and epochs that fit, from a few steps of each.

The time is that of all arms' trainings and evaluations, without ingest, cluster and report.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import length_hint

import torch

from pipeline.config.params import Params
from pipeline.doctor.base import Check, Situation, duration, ok, warn
from pipeline.doctor.estimate import (
    Counts,
    TrialFailed,
    estimated,
    exceeds_memory,
    read_counts,
    run_trial,
    trials_of,
)
from pipeline.doctor.trial_run import Trial
from pipeline.encoders.registry import PATCH_RESNET
from pipeline.runtime.device import pick_device
from pipeline.runtime.errors import UserError
from pipeline.sources.registry import open_source
from pipeline.storage.schema import CHOSEN
from pipeline.training.loaders.select import loader_kind

LEAST_EPOCHS, LEAST_STEPS = 10, 300
"""Minimum for a setting; below either, smaller images are used."""
LEAST_OF_SMALLEST = 3, 200
"""The same minimum for the smallest images: enough to exceed untrained filters (docs/results.md)."""
MOST_EPOCHS = 200
SPARE = 0.1
"""Share of the time that is kept in reserve, because steps vary."""
TEST_SHARE = 0.25
"""Number of test images per train image if nothing is ingested yet."""
USUAL_BATCH = 128


@dataclass(frozen=True)
class Setting:
    image_size: int
    encoder: str
    batch_size: int = USUAL_BATCH
    least_epochs: int = LEAST_EPOCHS
    least_steps: int = LEAST_STEPS

    def applied_to(self, params: Params) -> Params:
        ingest = params.ingest.model_copy(update={"image_size": self.image_size})
        # The step size of an adaptive optimizer does not depend on the gradient's scale; because of the
        # gradient noise, the rate grows with the square root of the batch size.
        rate = params.pretrain.learning_rate * math.sqrt(self.batch_size / params.pretrain.batch_size)
        changed = {
            "encoder": self.encoder,
            "batch_size": self.batch_size,
            "learning_rate": float(f"{rate:.2g}"),
            "micro_batch": None,
            "stem_stride": "auto",
            "gradient_checkpointing": False,
        }
        pretrain = params.pretrain.model_copy(update=changed)
        return params.model_copy(update={"ingest": ingest, "pretrain": pretrain})


ON_A_CPU = [
    Setting(32, PATCH_RESNET, USUAL_BATCH, *LEAST_OF_SMALLEST),
    Setting(64, PATCH_RESNET),
    Setting(128, "resnet18"),
]
ON_A_GPU = [
    Setting(32, PATCH_RESNET, 512, *LEAST_OF_SMALLEST),
    Setting(64, "resnet18", 512),
    Setting(128, "resnet18", 512),
    Setting(224, "resnet50", 256),
]
"""From the fastest to the slowest."""


@dataclass(frozen=True)
class Plan:
    setting: Setting
    epochs: int
    steps: int
    """Number of steps of one training."""
    seconds: float
    """Time of all trainings and evaluations."""
    fits_memory: bool

    @property
    def is_enough(self) -> bool:
        setting = self.setting
        return self.fits_memory and self.epochs >= setting.least_epochs and self.steps >= setting.least_steps


def look(situation: Situation) -> Iterator[Check]:
    assert situation.minutes is not None, "a plan needs --minutes"
    if situation.params is None:
        raise UserError("params.yaml is not valid: run `clinfonce doctor` without --minutes, which says why")
    if situation.params.pretrain.weights is not None:
        raise UserError(
            "--minutes proposes networks that are trained from nothing, and pretrain.weights names weights: "
            "run `clinfonce doctor` without --minutes, which measures their network"
        )
    counts, device = counts_of(situation), pick_device()
    plans: list[Plan] = []
    for setting in ON_A_GPU if device.type == "cuda" else ON_A_CPU:
        title = f"{setting.image_size} px, {setting.encoder}"
        try:
            plan = planned(setting, situation, counts, device)
        except TrialFailed as why:
            yield warn(title, str(why), "free memory for this setting; the others are tried all the same.")
            continue
        plans.append(plan)
        yield _checked(title, plan, situation.minutes)
        if not plan.is_enough and plan.seconds > 60 * situation.minutes:
            break  # what follows is slower
    yield _advice([plan for plan in plans if plan.fits_memory], situation)


def counts_of(situation: Situation) -> Counts:
    """Returns the counts of the ingested images or, without any, those given by the user or the source.

    Raises `UserError` if neither gives them.
    """
    assert situation.params is not None
    if situation.ingested:
        return read_counts(situation)
    images = situation.images or _images_of_source(situation.params)
    if not images:
        raise UserError("nothing is ingested yet: say how many train images there are, as in --images 50000")
    return Counts(images, round(TEST_SHARE * images), 10, None)


def _images_of_source(params: Params) -> int:
    """Returns the approximate number of train images; 0 if the source would have to be read for it."""
    rows = length_hint(open_source(params.ingest, params.seed))
    return round(rows * (1 - params.ingest.test_fraction))


def planned(setting: Setting, situation: Situation, counts: Counts, device: torch.device) -> Plan:
    """Plans as many epochs as the time allows, at least one. Raises `TrialFailed`."""
    assert situation.params is not None
    assert situation.minutes is not None
    params = setting.applied_to(situation.params)
    # Sizes other than the ingested one are measured on random pixels.
    as_ingested = situation.ingested and setting.image_size == situation.params.ingest.image_size
    loader = counts.loader if as_ingested else None
    candidate = replace(situation, params=params)
    trials = {
        what: (run_trial(what, candidate, replace(counts, loader=loader)), arms)
        for what, arms in trials_of(params)
    }
    kept = loader_kind(counts.train * trials[CHOSEN][0].image_bytes, device)
    counts = replace(counts, loader="resident" if kept == "sharded" else kept)
    budget = 60 * situation.minutes * (1 - SPARE)
    one, two = (_seconds(trials, _with_epochs(params, epochs), counts) for epochs in (1, 2))
    epochs = min(MOST_EPOCHS, max(1, 1 + math.floor((budget - one) / max(two - one, 1e-9))))
    estimates = [
        estimated(what, trial, _with_epochs(params, epochs), counts) for what, (trial, _) in trials.items()
    ]
    return Plan(
        setting,
        epochs,
        epochs * max(1, counts.train // setting.batch_size),
        one + (epochs - 1) * (two - one),
        not any(exceeds_memory(estimate, device) for estimate in estimates),
    )


def _with_epochs(params: Params, epochs: int) -> Params:
    return params.model_copy(update={"pretrain": params.pretrain.model_copy(update={"epochs": epochs})})


def _seconds(trials: dict[str, tuple[Trial, list[str]]], params: Params, counts: Counts) -> float:
    return sum(
        len(arms) * estimated(what, trial, params, counts).seconds for what, (trial, arms) in trials.items()
    )


def _checked(title: str, plan: Plan, minutes: float) -> Check:
    found = f"{plan.epochs} epochs, {plan.steps:,} steps an arm, {duration(plan.seconds)} in all"
    if not plan.fits_memory:
        return warn(
            title, f"{found}; more memory than is free", "end other programs, or take smaller images."
        )
    if plan.seconds > 60 * minutes:
        return warn(title, f"one epoch takes {duration(plan.seconds)} in all", "take smaller images.")
    if not plan.is_enough:
        setting = plan.setting
        cure = f"at least {setting.least_epochs} epochs and {setting.least_steps} steps should be left."
        return warn(title, found, cure)
    return ok(title, found)


def _advice(plans: list[Plan], situation: Situation) -> Check:
    if not plans:
        raise UserError("no setting fits into the memory: end other programs, and ask again")
    enough = [plan for plan in plans if plan.is_enough]
    plan = enough[-1] if enough else plans[0]
    lines = settings(plan, situation)
    found = "uv run dvc exp run " + " ".join(f"-S {name}={value}" for name, value in lines.items())
    what = f"for {situation.minutes:g} minutes"
    if enough:
        return ok(what, found)
    return warn(
        what, found, "give it more time, or fewer arms (`report.references`): this is little to learn in."
    )


def settings(plan: Plan, situation: Situation) -> dict[str, object]:
    """Returns the values of params.yaml that differ, by their dotted names."""
    assert situation.params is not None
    before, after = situation.params, _with_epochs(plan.setting.applied_to(situation.params), plan.epochs)
    found: dict[str, object] = {}
    if before.ingest.image_size != after.ingest.image_size:
        found["ingest.image_size"] = after.ingest.image_size
    of_network = ("encoder", "stem_stride", "gradient_checkpointing")
    for name in (*of_network, "batch_size", "micro_batch", "learning_rate", "epochs"):
        value = getattr(after.pretrain, name)
        if value != getattr(before.pretrain, name) or name == "epochs":
            found[f"pretrain.{name}"] = "null" if value is None else "false" if value is False else value
    return found
