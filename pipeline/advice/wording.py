"""The advice in sentences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

from pipeline.advice.advise import Advice, Ranked
from pipeline.advice.forecast import RESOLUTION
from pipeline.advice.formatting import share
from pipeline.advice.predictors import Predictors
from pipeline.runtime.errors import listed, shown
from pipeline.runtime.sanitize import for_override, for_value
from pipeline.storage.schema import AdviceRecord

LIKE_SIMCLR = 0.1
"""Weight of positives from other images below which training hardly differs from self-supervision."""
DISAGREEMENT = 0.2
"""Lead of another candidate in one predictor from which the predictors disagree."""
FEW_LABELS = 500
"""Number of labelled images below which a finding says how uncertain the order is."""
NAMED = 6
LONGEST_COMMAND = 10_000
"""In characters; names of columns may have any length."""
MEANING = {
    "information": "information",
    "batch_information": "information that a batch sees",
    "pairs": "pairs of images",
    "alignment": "alignment",
}
UNCHANGED: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Finding:
    code: str
    sentence: str


def sentences(advice: Advice) -> list[str]:
    """Returns what to use, what is as good, and what to leave out."""
    return [*_use(advice), *_as_good(advice), *_names_the_label(advice), *_leave_out(advice)]


def findings(advice: Advice) -> list[Finding]:
    """Returns why the advice may be wrong."""
    return [*_few_labels(advice), *_disagreements(advice), *_like_simclr(advice)]


def command(one: Ranked, of_images: Mapping[str, Any] = UNCHANGED) -> str:
    """Returns the command that trains on a candidate; `of_images` are the changes by which its images are
    ingested."""
    options = (
        for_override(name, value) if isinstance(value, list) else for_value(name, value)
        for name, value in {**of_images, **one.changes}.items()
    )
    return f"dvc exp run {' '.join(options)}"


def _named(candidates: Sequence[Ranked]) -> str:
    return listed([one.name for one in candidates], NAMED)


def _use(advice: Advice) -> Iterator[str]:
    pick = advice.pick
    if pick is None:
        yield (
            "Nothing here is expected to add to self-supervision: train with cluster.method=instance, or "
            "collect other information."
        )
        return
    yield (
        f"Cluster by {shown(pick.name)}: expected to give {share(pick.gain.estimate)} of what labels would "
        f"add to self-supervision, with 90 % certainty {share(pick.gain.low)} to {share(pick.gain.high)}."
    )


def _as_good(advice: Advice) -> Iterator[str]:
    others = [one for one in advice.ranked if one.as_good_as_best and one is not advice.pick]
    if advice.pick is not None and others:
        yield f"As good, as far as {advice.labelled:,} labelled images tell: {_named(others)}."


def _names_the_label(advice: Advice) -> Iterator[str]:
    naming = [one for one in advice.ranked if one.names_the_label]
    if naming:
        verb, pronoun = ("names", "it") if len(naming) == 1 else ("name", "them")
        yield (
            f"{_named(naming)} {verb} the label of nearly every image, so that training on {pronoun} is "
            f"training on labels: use {pronoun} where all images have {pronoun}, but not to see what other "
            "information is worth."
        )


def _leave_out(advice: Advice) -> Iterator[str]:
    """Names the columns that are expected to cost accuracy, unless they help beside others."""
    useful = {
        column
        for one in advice.ranked
        if one.gain.estimate > 0
        for column in one.changes.get("cluster.attributes.columns", [])
    }
    harmful = [
        one
        for one in advice.ranked
        if one.is_column and one.gain.estimate < -RESOLUTION and one.name not in useful
    ]
    if harmful:
        worst = harmful[-1]
        yield (
            f"Leave out {_named(list(reversed(harmful)))}: expected to be worse than self-supervision. "
            f"{shown(worst.name)} tells {worst.mutual_information_bits:.2f} bits about the label and splits "
            f"it by {worst.conditional_entropy_bits:.2f}."
        )


def _few_labels(advice: Advice) -> Iterator[Finding]:
    if advice.labelled >= FEW_LABELS:
        return
    few = f"Only {advice.labelled:,} images have a label, {advice.labelled / advice.labels:.0f} a class"
    order = ""
    if advice.order_stands is not None:
        order = (
            f": of the pairs of the best candidates, {100 * advice.order_stands:.0f} % have a certain order"
        )
    yield Finding("few_labels", f"{few}{order}.")


def _disagreements(advice: Advice) -> Iterator[Finding]:
    pick = advice.pick
    if pick is None:
        return
    fair = [one for one in advice.ranked if not one.names_the_label]
    found = []
    for predictor in fields(Predictors):
        best = max(fair, key=lambda one: getattr(one.predictors, predictor.name))
        lead = getattr(best.predictors, predictor.name) - getattr(pick.predictors, predictor.name)
        if lead > DISAGREEMENT and not best.as_good_as_best:
            found.append(f"{shown(best.name)} by {MEANING[predictor.name]}")
    if found:
        yield Finding(
            "predictors_disagree",
            f"The predictors disagree: another candidate is clearly ahead ({listed(found)}). A short "
            "training of both tells more than this table.",
        )


def _like_simclr(advice: Advice) -> Iterator[Finding]:
    fine = [one for one in advice.ranked if one.is_column and one.positive_weight < LIKE_SIMCLR]
    if fine:
        yield Finding(
            "like_simclr",
            f"{_named(fine)}: a batch of {advice.batch_size:,} hardly ever holds two images of a cluster, so "
            "that training is no different from SimCLR. A larger batch or pretrain.sampler=cluster changes "
            "that.",
        )


def as_record(advice: Advice, of_images: Mapping[str, Any] = UNCHANGED) -> AdviceRecord:
    """Returns the advice with its sentences, as `advice.json` holds it.

    `of_images` are the changes of params.yaml by which the images are ingested, none in a project of theirs.
    """
    written = "" if advice.pick is None else command(advice.pick, of_images)
    record = {
        "sentences": sentences(advice),
        "findings": [asdict(finding) for finding in findings(advice)],
        "command": written if 0 < len(written) <= LONGEST_COMMAND else None,
        "pick": None if advice.pick is None else advice.pick.name,
        **asdict(advice),
    }
    return cast(AdviceRecord, record)


def no_advice(reason: str) -> AdviceRecord:
    return {"sentences": [reason], "findings": [], "command": None, "ranked": []}
