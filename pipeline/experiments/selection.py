"""Selection of the successful experiments from DVC's rows, each with its metrics and parameters.

A row is one of `dvc.api.exp_show`: a flat mapping with `Experiment`, `rev`, `State`, parameters and metrics
under dotted names, and hashes of dependencies. Names carry their file (`params.yaml:seed`) only where they
would clash. Integers are returned as floats, null as the text "None", an unreadable file as "!".
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.config.params import Params, by_dotted_name
from pipeline.experiments.experiment import FIGURES, Comparison, Experiment, Group, Value, of_ingest
from pipeline.storage.schema import CHOSEN, ArmName, Baselines, Layout
from pipeline.untrusted.dvc_lock import output_hash

Row = Mapping[str, Any]
FAILED, UNFINISHED = {"Failed"}, {"Queued", "Running"}
IMAGES = str(Layout().images)
FILES = {"params.yaml", "data/report/metrics.json"}
_NO_VALUE = {None, "", "None", "!", "-"}
MOST = 2.0**63
"""Upper bound of a metric, a parameter or a count."""


def select(
    rows: Iterable[Row],
    locks: Mapping[str, Mapping[str, Any] | None],
    reasons: Mapping[str, str] | None = None,
    train_images: Mapping[str, float] | None = None,
) -> Comparison:
    """Sorts the rows into a comparison.

    `locks` holds the content of dvc.lock by `rev`, None if there is none. Also by `rev`, `reasons` says why
    an experiment failed, and `train_images` holds what its report lacks.

    A failed experiment is left out because DVC shows the metrics of its baseline in its row. A row is stale,
    and left out, if its dvc.lock says that its metrics come from other parameters: after an edit of
    params.yaml without a run, or a run of only some stages. The workspace is left out if it repeats another
    row.
    """
    unfinished = empty = 0
    failed: dict[str, str] = {}
    stale: list[str] = []
    kept: list[Experiment] = []
    for row in rows:
        state = row.get("State")
        experiment = _experiment(row, train_images or {}, locks.get(str(row["rev"])))
        if state in FAILED:
            failed[_name_of(row)] = (reasons or {}).get(str(row["rev"]), "")
        elif state in UNFINISHED:
            unfinished += 1
        elif experiment is None:
            empty += 1
        elif not _made_with(experiment.params, locks.get(experiment.rev)):
            stale.append(experiment.name)
        else:
            kept.append(experiment)
    kept = [e for e in kept if e.rev != "workspace" or not any(_same(e, other) for other in kept)]
    kept.sort(key=lambda experiment: (experiment.top1 is None, -(experiment.top1 or 0.0), experiment.name))
    groups: dict[str, list[Experiment]] = {}
    for experiment in kept:
        groups.setdefault(experiment.images, []).append(experiment)
    apart = [pair for group in groups.items() for pair in _by_content(*group)]
    by_size = sorted(apart, key=lambda pair: -len(pair[1]))
    return Comparison([Group(*found) for found in by_size], failed, unfinished, stale, empty)


def _by_content(images: str, experiments: list[Experiment]) -> list[tuple[str, list[Experiment]]]:
    """Splits experiments by the hash of data/images if ingest wrote several with the same parameters.

    Its input has then changed. If hashes differ only with the parameters, such as the seed, the group stays
    whole.
    """
    hashes_by_choices: dict[tuple[Value, ...], set[str | None]] = {}
    keys = of_ingest(experiments)
    for experiment in experiments:
        choices = tuple(experiment.params.get(key) for key in keys)
        hashes_by_choices.setdefault(choices, set()).add(experiment.images_hash)
    if all(len(hashes) == 1 for hashes in hashes_by_choices.values()):
        return [(images, experiments)]
    apart: dict[str | None, list[Experiment]] = {}
    for experiment in experiments:
        apart.setdefault(experiment.images_hash, []).append(experiment)
    return [(f"{images}, data/images {(own or 'not recorded')[:12]}", same) for own, same in apart.items()]


def _experiment(
    row: Row, train_images: Mapping[str, float], lock: Mapping[str, Any] | None
) -> Experiment | None:
    """Returns the experiment of a row; None if the row has no metric of the chosen arm."""
    named = {_plain_name(key): _value(value) for key, value in row.items() if _plain_name(key)}
    method = named.get("chosen.method")
    figures = {figure: _number(named.get(f"chosen.{figure}")) for figure in FIGURES}
    if method is None or all(value is None for value in figures.values()):
        return None
    return Experiment(
        name=_name_of(row),
        rev=str(row["rev"]),
        params={key: value for key, value in named.items() if key.split(".")[0] in Params.model_fields},
        method=str(method),
        figures=figures,
        gap_closed=_number(named.get("gap_closed")),
        gap_closed_interval=_interval(*(_number(named.get(f"gap_closed_{end}")) for end in ("low", "high"))),
        baselines=_baselines(named),
        references={arm: _number(named.get(f"{arm}.top1")) for arm in ArmName if arm != CHOSEN},
        train_images=_number(named.get("chosen.train_images")) or train_images.get(str(row["rev"])),
        images_hash=output_hash(lock, IMAGES),
    )


def _interval(low: float | None, high: float | None) -> tuple[float, float] | None:
    return None if low is None or high is None else (low, high)


def _baselines(named: Mapping[str, Value]) -> Baselines | None:
    """Returns the baselines; None for reports of earlier versions."""
    chance, majority, reachable = (
        _number(named.get(f"baselines.{kind}_top1")) for kind in ("chance", "majority", "reachable")
    )
    if chance is None or majority is None or reachable is None:
        return None
    return {"chance_top1": chance, "majority_top1": majority, "reachable_top1": reachable}


def _name_of(row: Row) -> str:
    return str(row.get("Experiment") or row["rev"])


def _plain_name(key: str) -> str:
    """Returns the dotted name without its file; empty for a name of another file."""
    file, colon, name = key.rpartition(":")
    return name if not colon or file in FILES else ""


def _value(value: Any) -> Value:
    if value in _NO_VALUE:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    # The files of another branch may contain any number.
    return float(value) if abs(value) < MOST else None


def _number(value: Value) -> float | None:
    return value if isinstance(value, float) else None


def _same(one: Experiment, other: Experiment) -> bool:
    def content(experiment: Experiment) -> tuple[object, ...]:
        return experiment.params, experiment.figures, experiment.gap_closed

    return one is not other and content(one) == content(other)


def _made_with(params: Mapping[str, Value], lock: Mapping[str, Any] | None) -> bool:
    """Returns whether, by dvc.lock, every stage of the chosen arm ran with `params` and on current inputs."""
    stages = (lock or {}).get("stages", {})
    # The lock may still hold reference arms that are no longer run.
    on_the_way = [stage for name, stage in stages.items() if name.partition("@")[2] in ("", "chosen")]
    outputs = {out["path"]: out.get("md5") for stage in on_the_way for out in stage.get("outs", [])}
    for stage in on_the_way:
        for recorded in stage.get("params", {}).values():
            if any(not equal_values(value, params.get(key)) for key, value in by_dotted_name(recorded)):
                return False
        if any(
            dep["path"] in outputs and dep.get("md5") != outputs[dep["path"]] for dep in stage.get("deps", [])
        ):
            return False
    return True


def equal_values(recorded: Any, shown: Value) -> bool:
    """Compares values as `exp_show` returns them: passed through text, with numbers as floats."""
    if isinstance(shown, float):
        try:
            return math.isclose(float(recorded), shown, rel_tol=1e-4)
        except (TypeError, ValueError, OverflowError):
            return False
    return shown == (None if recorded in (None, "") else str(recorded))
