"""The verdict: the results and their intervals in one sentence.

Warnings precede it if a training has collapsed or does not exceed encoders that were not trained here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.presentation.formatting import percent, points, sentence
from pipeline.report.arms import Arm, paired
from pipeline.runtime.errors import listed
from pipeline.statistics.intervals import Correct, Interval, paired_difference, share_closed
from pipeline.storage.schema import START, UNTRAINED

ONE_SEED = "one seed: the intervals exclude the variance of training"


FLOORS = {START: "the weights that training started from", UNTRAINED: "untrained filters"}
"""The references that are not trained, which a training should exceed."""


@dataclass(frozen=True)
class Floor:
    """The arms beside a reference that is not trained."""

    name: str
    """Key of `FLOORS`."""
    top1: float | None
    over: Interval | None
    """Chosen minus this."""
    instance_over: Interval | None
    """Instance minus this."""
    not_above: tuple[str, ...]
    """Trained arms that are not clearly above it."""


@dataclass(frozen=True)
class Standings:
    """Accuracies of the arms and their differences; None if an arm or the labels are missing."""

    method: str
    top1: float | None
    top1_interval: tuple[float, float] | None = None
    instance_top1: float | None = None
    label_top1: float | None = None
    over_instance: Interval | None = None
    over_label: Interval | None = None
    floors: tuple[Floor, ...] = ()
    collapsed: tuple[str, ...] = ()
    """Arms whose training ended in a collapse, with its description."""
    gap: Interval | None = None
    """Label minus instance."""
    closed: Interval | None = None
    """Closed share of the gap; also None if the interval of the gap includes zero."""
    reason: str | None = None
    """Reason why nothing was measured."""


def standings(arms: list[Arm]) -> Standings:
    by_name = {arm.name: arm for arm in arms}
    chosen, instance, label = by_name["chosen"], _measured(by_name, "instance"), _measured(by_name, "label")
    collapsed = tuple(f"{arm.name} ({arm.collapse.what})" for arm in arms if arm.collapse)
    if chosen.top1 is None:
        return Standings(chosen.method, None, collapsed=collapsed, reason=chosen.metrics["reason"])
    low, high = chosen.metrics["top1_low"], chosen.metrics["top1_high"]
    return Standings(
        method=chosen.method,
        top1=chosen.top1,
        top1_interval=None if low is None or high is None else (low, high),
        instance_top1=instance.top1 if instance else None,
        label_top1=label.top1 if label else None,
        over_instance=_difference(chosen, instance),
        over_label=_difference(chosen, label),
        floors=tuple(
            Floor(
                name,
                floor.top1,
                _difference(chosen, floor),
                _difference(instance, floor),
                tuple(arm.name for arm in not_above(floor, arms)),
            )
            for name in FLOORS
            if (floor := _measured(by_name, name))
        ),
        collapsed=collapsed,
        gap=_difference(label, instance),
        closed=share_closed(*_over_common_images(chosen, instance, label)) if instance and label else None,
    )


def not_above(floor: Arm, arms: Sequence[Arm]) -> list[Arm]:
    """Returns the trained arms whose linear top-1 is not clearly above that of `floor`."""
    return [
        arm
        for arm in arms
        if arm.trained and (difference := _difference(arm, floor)) and not difference.above_zero
    ]


def gap_closed(top1: float | None, instance_top1: float | None, label_top1: float | None) -> float | None:
    """Returns (chosen - instance) / (label - instance) in top-1; None if it is undefined.

    This is the point estimate for `metrics.json`; the verdict gives its interval.
    """
    if top1 is None or instance_top1 is None or label_top1 is None or label_top1 <= instance_top1:
        return None
    return (top1 - instance_top1) / (label_top1 - instance_top1)


def verdict(found: Standings, subject: str) -> str:
    """Returns the verdict about `subject`, the chosen clusters as a plural subject."""
    if found.top1 is None:
        return f"{_collapsed(found)}{sentence(found.reason or 'No accuracy was measured')}"
    return f"{_collapsed(found)}{_below_floors(found)}{_cluster_sentence(found, subject)}"


def _collapsed(found: Standings) -> str:
    return f"Collapsed in training: {listed(list(found.collapsed))}. " if found.collapsed else ""


def _below_floors(found: Standings) -> str:
    return "".join(
        f"Not clearly above {FLOORS[floor.name]} at {percent(floor.top1)}: {listed(list(floor.not_above))}. "
        for floor in found.floors
        if floor.not_above
    )


def _cluster_sentence(found: Standings, subject: str) -> str:
    reached = f"{subject} reach {percent(found.top1)} linear top-1"
    comparisons = _comparisons(found)
    if comparisons:
        added = _added_by_self_supervision(found)
        return f"{reached}: {'; '.join([*comparisons, *added, *_gap(found), ONE_SEED])}."
    if found.top1_interval is not None:
        low, high = found.top1_interval
        reached += f" (95 % interval {percent(low)} to {percent(high)})"
    return f"{reached}; {_without_comparison(found)}; {ONE_SEED}."


def _without_comparison(found: Standings) -> str:
    if found.over_instance is None and found.over_label is None:
        return "there is no reference (report.references), so a comparison with self-supervision is missing"
    return "the only reference is the same clustering, so there is no comparison"


def _comparisons(found: Standings) -> list[str]:
    """Compares the chosen arm with each reference of another method."""
    against = []
    against += [
        _against(floor.over, FLOORS[floor.name], floor.top1)
        for floor in found.floors
        if floor.over is not None
    ]
    if found.over_instance is not None and found.method != "instance":
        against.append(_against(found.over_instance, "self-supervision", found.instance_top1))
    if found.over_label is not None and found.method != "label":
        against.append(_against(found.over_label, "the label reference", found.label_top1))
    return [", and ".join(filter(None, [", ".join(against[:-1]), against[-1]]))] if against else []


def _added_by_self_supervision(found: Standings) -> list[str]:
    """States what training without auxiliary information adds to weights that were given."""
    return [
        f"self-supervision adds {points(floor.instance_over.estimate)} points to these weights"
        for floor in found.floors
        if floor.name == START and floor.instance_over is not None and found.method != "instance"
    ]


def _against(difference: Interval, name: str, top1: float | None) -> str:
    if not difference.above_zero and not difference.below_zero:
        interval = f"{points(difference.low)} to {points(difference.high)}"
        found = f"{points(difference.estimate)} points, 95 % interval {interval}"
        return f"no clear difference from {name} at {percent(top1)} ({found})"
    side, sign = ("above", 1) if difference.above_zero else ("below", -1)
    size = points(abs(difference.estimate), signed=False)
    low, high = sorted((sign * difference.low, sign * difference.high))
    interval = f"{points(low, signed=False)} to {points(high, signed=False)}"
    return f"{size} points {side} {name} at {percent(top1)} (95 % interval {interval})"


def _gap(found: Standings) -> list[str]:
    """States the closed share of the gap between the references, or why it cannot be estimated."""
    if found.gap is None or found.over_instance is None or found.method in ("instance", "label"):
        return []
    if found.gap.estimate <= 0:
        return ["no share of a gap is closed, as the label reference is not above self-supervision"]
    if found.closed is None:
        return ["the references are too close to estimate what share of their gap is closed"]
    if found.over_instance.below_zero:
        return ["none of the gap between the references is closed"]
    share = stated_share(found)
    if share is None:
        return ["no closed share of the gap between the references is measured"]
    interval = f"{points(share.low, 0, signed=False)} to {points(share.high, 0, signed=False)}"
    return [f"{percent(share.estimate, 0)} of the gap between the two is closed (95 % interval {interval})"]


def stated_share(found: Standings) -> Interval | None:
    """Returns the closed share of the gap between the references; None if it cannot be estimated.

    The estimate requires clusters of another method, a gap that is clearly above zero, and a gain.
    """
    if found.over_instance is None or found.method in ("instance", "label"):
        return None
    return found.closed if found.over_instance.estimate > 0 else None


def _measured(by_name: dict[str, Arm], name: str) -> Arm | None:
    arm = by_name.get(name)
    return arm if arm is not None and arm.top1 is not None else None


def _difference(first: Arm | None, second: Arm | None) -> Interval | None:
    return None if first is None or second is None else paired_difference(*paired(first, second))


def _over_common_images(chosen: Arm, instance: Arm, label: Arm) -> tuple[Correct, Correct, Correct]:
    chosen_N, instance_N = paired(chosen, instance)
    _, label_N = paired(chosen, label)
    assert len(instance_N) == len(label_N), "all arms are tested on the same images"
    return chosen_N, instance_N, label_N
