"""Findings: conditions that limit what the results mean. Each has a stable code and one sentence."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.evaluation.baselines import majority_label
from pipeline.evaluation.wording import UNREACHABLE
from pipeline.objectives.traits import TRAITS
from pipeline.presentation.formatting import percent, plural, sentence
from pipeline.report.arms import Arm, paired
from pipeline.report.verdict import not_above
from pipeline.runtime.errors import listed
from pipeline.statistics.intervals import paired_difference
from pipeline.storage.schema import START, UNTRAINED, IngestSummary

WIDE_INTERVAL = 0.06
"""Width above which an interval of top-1 cannot separate clusterings that differ by a few points."""


@dataclass(frozen=True)
class Finding:
    code: str
    sentence: str
    where: str
    """Arm or stage that the finding concerns."""
    cure: str = ""
    """What to do."""


def findings(arms: list[Arm], summary: IngestSummary) -> list[Finding]:
    found = [
        *_teacher_findings(arms),
        *_floor_findings(arms),
        *_image_findings(summary),
        *_label_findings(arms),
        *_evaluation_findings(arms),
    ]
    for arm in (arm for arm in arms if arm.trained):
        found += [*_training_findings(arm), *_cluster_findings(arm)]
    return found


def _teacher_findings(arms: list[Arm]) -> Iterator[Finding]:
    """Yields a finding if arms learned from different vectors, as DVC does not watch their file."""
    arms_of: dict[str, list[str]] = {}
    for arm in (arm for arm in arms if arm.trained):
        sha256 = (arm.config.get("teacher") or {}).get("sha256")
        arms_of.setdefault(f"the vectors {sha256[:12]}" if sha256 else "none", []).append(arm.name)
    if len(arms_of) > 1:
        used = "; ".join(f"{listed(names)} by {vectors}" for vectors, names in arms_of.items())
        yield Finding(
            "different_teachers",
            f"The arms differ in more than their clusters, as pretrain.teacher taught {used}.",
            "pretrain",
            "Run `uv run dvc repro -f`: DVC does not watch pretrain.teacher.vectors, so that arms were kept "
            "from before the file changed.",
        )


def _floor_findings(arms: list[Arm]) -> Iterator[Finding]:
    by_name = {arm.name: arm for arm in arms if arm.top1 is not None}
    started = START in by_name
    if started and (weak := not_above(by_name[START], arms)):
        yield Finding(
            "below_start",
            "Not clearly above the weights that training started from: "
            f"{listed([arm.name for arm in weak])}.",
            "pretrain",
            "Lower pretrain.learning_rate, as trained weights need small steps, raise pretrain.epochs, or "
            "use the weights as they came.",
        )
    if UNTRAINED in by_name and (weak := not_above(by_name[UNTRAINED], arms)):
        smaller = "" if started else "; for images below 64 pixels, take pretrain.encoder=patch_resnet"
        yield Finding(
            "below_untrained",
            "Not clearly above filters that were cut from the images and learned nothing: "
            f"{listed([arm.name for arm in weak])}.",
            "pretrain",
            f"Raise pretrain.epochs{smaller}.",
        )


def _image_findings(summary: IngestSummary) -> Iterator[Finding]:
    if summary["leaks"]:
        yield Finding(
            "leaked_test_images",
            f"{plural(summary['leaks'], 'test image')} with a copy in train: the accuracy is too high.",
            "ingest",
            "Set ingest.leaks=drop_train; data/images/duplicates.parquet lists them.",
        )
    if summary["near_leaks"]:
        yield Finding(
            "nearly_leaked_test_images",
            f"{plural(summary['near_leaks'], 'test image')} with a near duplicate in train: the accuracy may "
            "be too high.",
            "ingest",
            "Check them in data/images/duplicates.parquet, and set ingest.leaks=drop_train.",
        )
    if summary["duplicates"]:
        yield Finding(
            "duplicate_images",
            f"{plural(summary['duplicates'], 'image repeats', 'images repeat')} an earlier one of the same "
            "split.",
            "ingest",
            "Keep one of each, unless intended; data/images/duplicates.parquet lists them.",
        )
    if summary["near_duplicates"]:
        yield Finding(
            "near_duplicate_images",
            f"{plural(summary['near_duplicates'], 'near duplicate')} of an earlier image of the same split.",
            "ingest",
            "Check them in data/images/duplicates.parquet, and keep one of each, unless intended.",
        )
    train, unlabelled = summary["images"].get("train", 0), summary["unlabelled"].get("train", 0)
    if 0 < unlabelled < train:
        yield Finding(
            "unlabelled_images",
            f"{percent(unlabelled / train)} of the train images have no label: "
            "I(Z;T), H(Z|T) and the probe ignore them.",
            "ingest",
        )


def _label_findings(arms: list[Arm]) -> Iterator[Finding]:
    given = arms[0].metrics["baselines"]
    if given is None:
        return
    if given["reachable_top1"] < 1:
        yield Finding(
            "unreachable_labels",
            f"At most {percent(given['reachable_top1'])} can be reached: {UNREACHABLE}.",
            "ingest",
            "Fix the split, or remove these test images.",
        )
    if weak := [arm.name for arm in arms if not _is_above_majority(arm)]:
        yield Finding(
            "not_above_majority",
            f"Not clearly above the majority share of {percent(given['majority_top1'])} (always naming the "
            f"most frequent label): {listed(weak)}.",
            "evaluate",
            "See the classes below: such an accuracy says nothing about the features.",
        )


def _is_above_majority(arm: Arm) -> bool:
    """Returns whether the accuracy is clearly above the majority share on the same test images."""
    if arm.top1 is None:
        return True
    in_train = dict(zip(arm.per_class["label"], arm.per_class["train_images"], strict=True))
    by_majority = (arm.predictions["label"] == majority_label(in_train)).to_numpy(dtype=bool)
    return paired_difference(arm.correct().to_numpy(), by_majority).above_zero


def _evaluation_findings(arms: list[Arm]) -> Iterator[Finding]:
    low, high = arms[0].metrics["top1_low"], arms[0].metrics["top1_high"]
    if low is not None and high is not None and high - low > WIDE_INTERVAL:
        yield Finding(
            "few_test_images",
            f"With {plural(arms[0].metrics['test_images'], 'test image')} the 95 % interval of top-1 spans "
            f"{100 * (high - low):.0f} points: small differences are not resolved.",
            "evaluate",
            "Test on more labelled images.",
        )
    elsewhere = arms[0].metrics["encoder"]
    if elsewhere is not None and arms[0].top1 is not None:
        yield Finding(
            "encoder_from_elsewhere",
            f"The chosen arm's accuracy is that of the encoder in {elsewhere}, not of the one trained here.",
            "evaluate",
        )
    by_name = {arm.name: arm for arm in arms if arm.top1 is not None}
    if {"instance", "label"} <= by_name.keys():
        gap = paired_difference(*paired(by_name["label"], by_name["instance"]))
        if not gap.above_zero:
            yield Finding(
                "no_gap",
                "The label reference is not clearly above self-supervision: the gap is not measurable.",
                "evaluate",
                "Train longer, or add labelled images.",
            )


def _training_findings(arm: Arm) -> Iterator[Finding]:
    losses = arm.history["loss"].to_list()
    traits = TRAITS.get(arm.config.get("pretrain", {}).get("objective"))
    comparable = traits is None or not traits.loss_may_rise
    if comparable and len(losses) > 1 and losses[-1] >= losses[0]:
        yield Finding(
            "loss_did_not_fall",
            f"The loss went from {losses[0]:.2f} to {losses[-1]:.2f}.",
            arm.name,
            "Lower pretrain.learning_rate.",
        )
    if found := arm.collapse:
        yield Finding("collapsed", f"At the end {found.what}.", arm.name, sentence(found.cure))


def _cluster_findings(arm: Arm) -> Iterator[Finding]:
    """Yields the findings of the cluster stage."""
    given: list[Mapping[str, Any]] = arm.statistics.get("findings") or []
    for finding in given:
        text = sentence(str(finding["sentence"]))
        yield Finding(str(finding["code"]), text, arm.name, str(finding.get("cure", "")))
