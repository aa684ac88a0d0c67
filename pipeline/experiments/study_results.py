"""Results of DVC's experiments, read from Git: successful experiments are commits under `refs/exps/`."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.experiments.refs import LISTING, experiments_in
from pipeline.experiments.study import Planned, set_parameter
from pipeline.runtime.errors import UserError
from pipeline.runtime.json_text import NotJson, parse_json
from pipeline.storage.schema import CHOSEN, NOT_TRAINED, Layout
from pipeline.untrusted.dvc_lock import output_hash, read_lock
from pipeline.untrusted.git import read_blob, run_git
from pipeline.untrusted.yaml_text import MOST_BYTES, parse_yaml

Lock = Mapping[str, Any] | None

IMAGES = str(Layout().images)
METRICS = "data/report/metrics.json"
MOST_METRICS_BYTES = 1 << 20
"""Maximum size in bytes; the metrics of all arms have ten thousand."""


@dataclass(frozen=True)
class StudyResult:
    """An experiment that ran with the parameters of the study."""

    planned: Planned
    start: str
    """Abbreviated hash of the commit that the experiment started from."""
    figures: Mapping[str, Any]
    """Metrics of the chosen arm, by their names in metrics.json."""
    floors: Mapping[str, Mapping[str, Any]]
    """Metrics of the references that are not trained, by their names, as far as the study has them."""


def existing_results(requested: Iterable[Planned], root: Path) -> dict[str, StudyResult]:
    """Returns the finished ones of `requested` by name: with the same changes and the current params.yaml.

    Raises `UserError` for one of images that have been ingested again since.
    """
    refs, lock = _experiment_refs(root), read_lock("workspace", root)
    found = {}
    for one in requested:
        for start, ref in refs.get(one.name, []):
            params, expected = _params_of(root, ref), _params_of(root, "HEAD")
            for key, value in one.changes.items():
                set_parameter(expected, key, value)
            if _same(params, expected):
                _check_images(read_lock(ref, root), lock, one)
                found[one.name] = StudyResult(
                    one, start[:7], *_figures(read_blob(f"{ref}:./{METRICS}", MOST_METRICS_BYTES, root), one)
                )
    return found


def _check_images(made: Lock, now: Lock, one: Planned) -> None:
    """Raises `UserError` if the same parameters of ingest gave other images than they give now."""
    if _ingest_params(made) != _ingest_params(now):
        return
    then, current = (output_hash(lock, IMAGES) for lock in (made, now))
    if then and current and then != current:
        raise UserError(
            f"the experiment {one.name} was made from other images than {IMAGES} holds, although ingest has "
            "the same parameters: give the changed table or folder a new name in ingest.path, so that all "
            "experiments are made from it"
        )


def _ingest_params(lock: Lock) -> Any:
    return (lock or {}).get("stages", {}).get("ingest", {}).get("params")


STATISTICS = ("clusters", "mutual_information_bits", "conditional_entropy_bits")
FIGURES = ("top1", "knn_top1", "selection_top1", *STATISTICS)
"""Metrics of an arm in a study's report: numbers, or None if an accuracy was not measured."""
LARGEST_FIGURE = 1e12


def _figures(written: bytes, one: Planned) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Returns the metrics of the chosen arm, and of the references that are not trained.

    Raises `UserError` for metrics that no report wrote.
    """
    try:
        assert len(written) <= MOST_METRICS_BYTES
        metrics = parse_json(written)
        chosen = metrics[CHOSEN]
        floors = {arm: metrics[arm] for arm in NOT_TRAINED if metrics.get(arm) is not None}
        for figures in (chosen, *floors.values()):
            assert all(_is_figure(figures.get(name)) for name in FIGURES)
            assert (figures.get("top1") is None) == (figures.get("knn_top1") is None)
        assert None not in [chosen[name] for name in STATISTICS]
    except (NotJson, LookupError, TypeError, AttributeError, AssertionError):
        raise UserError(
            f"the experiment {one.name} has no metrics that this project wrote in {METRICS}: remove it with "
            f"`dvc exp remove {one.name}`"
        ) from None
    return chosen, floors


def _is_figure(figure: Any) -> bool:
    is_number = isinstance(figure, int | float) and not isinstance(figure, bool)
    return figure is None or (is_number and abs(figure) < LARGEST_FIGURE)


def chosen_by_search(results: Iterable[StudyResult]) -> dict[str, Mapping[str, Any]]:
    """Returns the values of each experiment's best try by accuracy on a part of train; ties: the first."""
    best: dict[str, StudyResult] = {}
    for one in results:
        before = best.get(one.planned.experiment)
        if before is None or _selection(one) > _selection(before):
            best[one.planned.experiment] = one
    return {experiment: one.planned.tried for experiment, one in best.items()}


def _selection(results: StudyResult) -> float:
    accuracy = results.figures.get("selection_top1")
    return -math.inf if accuracy is None else accuracy


def experiment_names(root: Path) -> set[str]:
    return set(_experiment_refs(root))


def uncommitted(root: Path) -> list[str]:
    """Returns the changed files under version control that would become part of an experiment.

    Only files of this project count; the repository may contain more.
    """
    changed = _git(root, "diff", "--name-only", "--relative", "--no-renames", "-z", "HEAD").split("\0")
    # A run writes these two files, and no stage reads them.
    return [name for name in changed if name not in ("", "dvc.lock", METRICS)]


def _experiment_refs(root: Path) -> dict[str, list[tuple[str, str]]]:
    return experiments_in(_git(root, *LISTING))


def _params_of(root: Path, rev: str) -> dict[str, Any]:
    name = f"params.yaml of {rev}"
    params = parse_yaml(read_blob(f"{rev}:./params.yaml", MOST_BYTES, root), name)
    if not isinstance(params, dict):
        raise UserError(f"{name} holds no sections: commit a params.yaml that the stages take")
    return params


def _same(actual: Any, requested: Any) -> bool:
    if isinstance(actual, dict) and isinstance(requested, dict):
        return actual.keys() == requested.keys() and all(_same(actual[key], requested[key]) for key in actual)
    both = (actual, requested)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in both):
        try:
            return math.isclose(*both)
        except OverflowError:  # an integer beyond any float
            return bool(actual == requested)
    return bool(actual == requested)


def _git(root: Path, *arguments: str) -> str:
    ended = run_git(*arguments, folder=root)
    if ended.returncode:
        why = ended.stderr.strip().partition("\n")[0]
        raise UserError(f"experiments cannot be read in {root}, which must be a Git repository: {why}")
    return ended.stdout
