"""Implementation of `clinfonce advise --race`: short trainings of the candidates that advice puts first."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from pipeline.config.params import PARAMS_FILE, load_params
from pipeline.experiments.halving import Race, Round
from pipeline.experiments.run_study import check_committed, run_experiment
from pipeline.experiments.study import Study, check_planned, planned
from pipeline.experiments.study_results import existing_results
from pipeline.objectives.traits import reads_clusters
from pipeline.presentation.formatting import percent, plural
from pipeline.presentation.tables import Cell, Column, Table
from pipeline.presentation.terminal import print_table
from pipeline.runtime.console import SafeConsole
from pipeline.runtime.errors import UserError
from pipeline.storage.schema import AdviceRecord, AdvisedClustering, Layout
from pipeline.storage.validation import read_json

CANDIDATES = 6
"""Maximum number, beside self-supervision."""
SEEDS = 3
FLOOR = "self-supervision"
COLUMNS = "cluster.attributes.columns"
LONGEST_NAME = 60


def race(minutes: float, root: Path, console: SafeConsole) -> None:
    """Trains the best candidates of data/clusters/chosen/advice.json, and self-supervision beside them.

    Every training is a DVC experiment, so that its stages are cached and a second race reuses them. Accuracy
    is that on the part of train on which the evaluation chooses its regularisation; test plays no part.
    Raises `UserError` without advice, with uncommitted changes, for an objective that reads no clusters, and
    for an experiment that fails.
    """
    check_committed(root)
    changes_of = candidates(read_json(Layout(root / "data").advice, AdviceRecord))
    params = load_params(root / PARAMS_FILE)
    objective = params.pretrain.objective
    if not reads_clusters(objective, params.pretrain.sampler):
        raise UserError(
            f"pretrain.objective={objective} reads no clusters, so that all candidates would train alike: "
            "race with pretrain.objective=cl_infonce"
        )
    slug_of = _slugs(list(changes_of))

    def train(name: str, epochs: int, seed: int) -> float:
        accuracy = _selection_accuracy(slug_of[name], changes_of[name], epochs, seed, root)
        console.print(f"{name}, {plural(epochs, 'epoch')}, seed {seed}: {percent(accuracy)}", markup=False)
        return accuracy

    running = Race(train, time.monotonic, 60 * minutes, params.pretrain.epochs, SEEDS)
    started = time.monotonic()
    running.run(list(changes_of))
    print_table(rounds_table(running.rounds), console)
    console.print(verdict(running, time.monotonic() - started), markup=False)


def candidates(advice: AdviceRecord) -> dict[str, dict[str, Any]]:
    """Returns the changes of params.yaml by name: the best that do not name the label, and the floor.

    Of the settings of a method, such as `attributes (top 8)`, only the best: the others are much the same.
    """
    best_of: dict[tuple[str, str], AdvisedClustering] = {}
    for one in advice["ranked"]:
        if not one["names_the_label"]:
            is_of_columns = COLUMNS in one["changes"]
            best_of.setdefault((one["changes"]["cluster.method"], one["name"] if is_of_columns else ""), one)
    best = list(best_of.values())[:CANDIDATES]
    if not best:
        raise UserError(f"there is nothing to race: {advice['sentences'][0]}")
    named = {f"column {FLOOR}" if one["name"] == FLOOR else one["name"]: one["changes"] for one in best}
    return named | {FLOOR: {"cluster.method": "instance"}}


def _slugs(names: list[str]) -> dict[str, str]:
    """Returns a name for the experiments of each candidate."""
    slugs = {}
    for place, name in enumerate(names, 1):
        plain = re.sub(r"[^a-z0-9]+", "_", name.casefold())[:LONGEST_NAME].strip("_")
        slugs[name] = f"{plain}_{place}" if plain else f"candidate_{place}"
    return slugs


def _selection_accuracy(slug: str, changes: Mapping[str, Any], epochs: int, seed: int, root: Path) -> float:
    study = Study(
        title="Race",
        question="Which clustering is ahead?",
        seeds=[seed],
        base={"report.references": [], "pretrain.epochs": epochs},
        experiments={slug: dict(changes)},
    )
    (one,) = planned(study, f"race--{epochs}-epochs", root)
    check_planned([one], root)
    if one.name not in existing_results([one], root) and (failure := run_experiment(one, root)) is not None:
        raise UserError(f"the experiment {one.name} failed: {failure.log} says why")
    accuracy = existing_results([one], root)[one.name].figures["selection_top1"]
    if accuracy is None:
        raise UserError(
            "a race compares accuracies on a part of train, and there are none: the images need labels, and "
            "evaluate.selection_fraction more than 0"
        )
    return float(accuracy)


def rounds_table(rounds: list[Round]) -> Table:
    """Lists the mean accuracy of each candidate by round, those that came furthest first."""
    names = [name for round_ in reversed(rounds) for name in round_.order]
    columns = [Column("cluster by")] + [
        Column(plural(round_.epochs, "epoch"), numeric=True) for round_ in rounds
    ]
    rows = [[Cell(name), *(Cell(_mean(round_, name)) for round_ in rounds)] for name in dict.fromkeys(names)]
    note = f"Accuracy on a part of train that was not fitted, mean of {SEEDS} seeds."
    return Table("The race", columns, rows, note=note)


def _mean(round_: Round, name: str) -> str:
    return percent(fmean(round_.accuracies[name])) if name in round_.accuracies else ""


def verdict(running: Race, seconds: float) -> str:
    last = running.rounds[-1]
    first, second = last.order[:2]
    spent = f"{plural(running.trainings, 'training')}, {seconds / 60:.0f} minutes"
    lead = 100 * (fmean(last.accuracies[first]) - fmean(last.accuracies[second]))
    length = plural(last.epochs, "epoch")
    if last.is_apart:
        return f"{first} is ahead of {second} by {lead:.1f} points after {length} ({spent})."
    return (
        f"{first} and {second} are not apart after {length}: {lead:.1f} points are within the spread of the "
        f"seeds ({spent})."
    )
