"""What clusterings that were not trained yet are expected to reach, by those that were."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from pipeline.advice.own_results import accuracy_forecasts
from pipeline.config.params import PARAMS_FILE, by_dotted_name, load_params
from pipeline.experiments.experiment import Experiment, Group, Value
from pipeline.experiments.selection import IMAGES, equal_values
from pipeline.presentation.formatting import interval_text, number, percent, plural
from pipeline.presentation.tables import Cell, Column, Table
from pipeline.runtime.errors import UserError, shown
from pipeline.statistics.intervals import Z_95
from pipeline.storage.schema import AdviceRecord, AdvisedClustering, Layout
from pipeline.storage.validation import read_json
from pipeline.untrusted.dvc_lock import output_hash, read_lock

SHOWN = 6
FREE = ("cluster.", "report.", "seed")
"""Beginnings of the parameters in which comparable trainings may differ."""
GAINS = {"instance": 0.0, "label": 1.0}
"""Of the references, between which gains are measured."""


@dataclass(frozen=True)
class Workspace:
    """What the cluster stage wrote last, and for which images and parameters."""

    advice: AdviceRecord
    images_hash: str
    params: Mapping[str, Any]

    @classmethod
    def read(cls, root: Path = Path()) -> "Workspace | None":
        """Returns None where the stages up to cluster have not run."""
        path = Layout(root / "data").advice
        images_hash = output_hash(read_lock("workspace", root), IMAGES)
        if images_hash is None or not path.is_file():
            return None
        try:
            params = dict(by_dotted_name(load_params(root / PARAMS_FILE).model_dump()))
            return cls(read_json(path, AdviceRecord), images_hash, params)
        except UserError:
            return None


def outlook(group: Group, workspace: Workspace) -> Table | None:
    """Lists the best candidates that the group was not trained on; None if no forecast can be made."""
    trained = [one for one in group.experiments if one.top1 is not None and _is_alike(one, workspace)]
    fair = [one for one in workspace.advice["ranked"] if not one["names_the_label"]]
    candidate_of = [_of_candidate(one, workspace) for one in trained]
    gains, accuracies = _points(trained, candidate_of)
    left = [one for one in fair if one not in candidate_of][:SHOWN]
    wanted = [one["gain"]["estimate"] for one in left]
    forecasts = accuracy_forecasts(gains, accuracies, _variance(trained), wanted)
    if not left or forecasts is None:
        return None
    rows = [
        [
            Cell(shown(one["name"])),
            Cell(percent(expected.estimate), expected.estimate),
            Cell(interval_text(expected.low, expected.high)),
            Cell(number(one["mutual_information_bits"]), one["mutual_information_bits"]),
            Cell(number(one["conditional_entropy_bits"]), one["conditional_entropy_bits"]),
        ]
        for one, expected in zip(left, forecasts, strict=True)
    ]
    columns = [
        Column("cluster by"),
        Column("expected top-1", numeric=True),
        Column("90 % interval"),
        Column("I(Z;T)", numeric=True),
        Column("H(Z|T)", numeric=True),
    ]
    note = (
        f"Forecast from {plural(len(gains), 'clustering')} that were trained on these images with the "
        "parameters of params.yaml, references included."
    )
    return Table("Not trained yet: the best candidates", columns, rows, note=note)


def _is_alike(one: Experiment, workspace: Workspace) -> bool:
    return one.images_hash == workspace.images_hash and all(
        equal_values(value, one.params.get(key))
        for key, value in workspace.params.items()
        if not key.startswith(FREE)
    )


def _of_candidate(one: Experiment, workspace: Workspace) -> AdvisedClustering | None:
    """Returns the candidate by whose changes of params.yaml the experiment's clusters were made."""
    for candidate in workspace.advice["ranked"]:
        params = {**workspace.params, **candidate["changes"]}
        if all(equal_values(params[key], one.params.get(key)) for key in _keys_of_clusters(params)):
            return candidate
    return None


def _keys_of_clusters(params: Mapping[str, Any]) -> Iterator[str]:
    """Yields the parameters that the chosen clustering depends on: those of its own block and of all."""
    for key in params:
        section, _, name = key.partition(".")
        block, is_in_block, _ = name.partition(".")
        if section == "cluster" and (not is_in_block or block == params["cluster.method"]):
            yield key


def _points(
    trained: Sequence[Experiment], candidates: Sequence[AdvisedClustering | None]
) -> tuple[list[float], list[float]]:
    """Returns the gain and the mean top-1 of each clustering that was trained, the references among them."""
    top1_of: dict[tuple[str, float], list[float]] = {}
    for one, candidate in zip(trained, candidates, strict=True):
        for arm, gain in GAINS.items():
            if (top1 := one.references.get(arm)) is not None:
                top1_of.setdefault((arm, gain), []).append(top1)
        if one.top1 is None:
            continue
        if one.method in GAINS:
            top1_of.setdefault((one.method, GAINS[one.method]), []).append(one.top1)
        elif candidate is not None:
            top1_of.setdefault((candidate["name"], candidate["gain"]["estimate"]), []).append(one.top1)
    return [gain for _, gain in top1_of], [fmean(values) for values in top1_of.values()]


def _variance(trained: Sequence[Experiment]) -> float:
    """Returns that of an accuracy by the sample of test images, 0 if no report states its interval."""
    halves = [_half(one.figures["top1_low"], one.figures["top1_high"]) for one in trained]
    return fmean((half / Z_95) ** 2 for half in halves) if halves else 0.0


def _half(low: Value, high: Value) -> float:
    return (high - low) / 2 if isinstance(low, float) and isinstance(high, float) else 0.0
