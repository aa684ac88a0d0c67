"""Implementation of `clinfonce study run`: runs the missing experiments of a study one after the other."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.experiments.study import Planned, check_planned, planned, read_study, study_name, tries
from pipeline.experiments.study_results import (
    StudyResult,
    chosen_by_search,
    existing_results,
    experiment_names,
    uncommitted,
)
from pipeline.runtime.console import SafeConsole
from pipeline.runtime.errors import UserError
from pipeline.untrusted.dvc.environment import SENDS_NOTHING
from pipeline.untrusted.git import check_trusted


@dataclass(frozen=True)
class Failure:
    planned: Planned
    log: Path


def run_study(path: Path, data: Path | None, root: Path, console: SafeConsole) -> None:
    """Runs the missing experiments. Raises `UserError` at the end, naming those that failed.

    An interrupted study resumes: DVC keeps finished experiments, its cache keeps finished stages, and a
    training keeps its checkpoint.
    """
    study, name = read_study(path, data), study_name(path, data)
    check_committed(root)
    searched, failures = _make(list(tries(study, name, root)), root, console, f"{study.title}, search")
    found = chosen_by_search(searched.values())
    for experiment, values in found.items():
        overrides = ", ".join(f"{key}={value}" for key, value in values.items())
        console.print(f"{experiment}: {overrides}", markup=False)
    _, more = _make(list(planned(study, name, root, found)), root, console, study.title)
    failures += more
    if failures:
        named = ", ".join(f"{failure.planned.name} ({failure.log})" for failure in failures)
        raise UserError(f"{len(failures)} experiments failed: {named}; the same command tries them again")


def check_committed(root: Path) -> None:
    """Raises `UserError` for changes that are not committed, and in a repository of another user."""
    check_trusted(root)
    if changed := uncommitted(root):
        raise UserError(
            f"{changed[0]} has changes that are not committed, and every experiment would take them along: "
            "commit them first, so that all experiments are made with the same code"
        )


def _make(
    requested: Sequence[Planned], root: Path, console: SafeConsole, title: str
) -> tuple[dict[str, StudyResult], list[Failure]]:
    """Returns those of `requested` that exist at the end, in their order, and those that failed."""
    if not requested:
        return {}, []
    check_planned(requested, root)
    existing = existing_results(requested, root)
    missing = [one for one in requested if one.name not in existing]
    console.print(f"{title}: {len(existing)} of {len(requested)} experiments are there", markup=False)
    failures = [failure for failure in _run_each(missing, root, console) if failure is not None]
    return existing_results(requested, root) if missing else existing, failures


def _run_each(missing: Sequence[Planned], root: Path, console: SafeConsole) -> list[Failure | None]:
    outcomes = []
    for number, one in enumerate(missing, 1):
        started = time.monotonic()
        outcomes.append(run_experiment(one, root))
        minutes, seconds = divmod(time.monotonic() - started, 60)
        word = "made" if outcomes[-1] is None else "[bold]FAILED[/bold]"
        console.print(f"{number}/{len(missing)} {one.name}: {word}, {minutes:.0f}:{seconds:02.0f}")
    return outcomes


def run_experiment(one: Planned, root: Path) -> Failure | None:
    """Runs a checked experiment in a folder of its own; returns its log if it fails."""
    log = root / ".clinfonce" / "studies" / f"{one.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    changes = [argument for key, value in one.changes.items() for argument in ("-S", f"{key}={_text(value)}")]
    if one.name in experiment_names(root):
        # It has the same name, but other parameters.
        _dvc(root, log, "exp", "remove", one.name)
    # In a separate folder, so that the workspace does not change.
    return (
        None
        if _dvc(root, log, "exp", "run", "--temp", "--name", one.name, *changes) == 0
        else Failure(one, log)
    )


def _dvc(root: Path, log: Path, *arguments: str) -> int:
    command = [sys.executable, "-m", "dvc", *arguments]
    with log.open("a") as output:
        ended = subprocess.run(  # noqa: S603
            command, cwd=root, env=os.environ | SENDS_NOTHING, stdout=output, stderr=output, check=False
        )
    return ended.returncode


def _text(value: Any) -> str:
    """Formats a value as an override: text in quotes, so that it may include commas and equals signs."""
    return json.dumps(value, ensure_ascii=False)
