"""What a study takes of an experiment, whoever made it: metrics that are none are a sentence."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.experiments.study import Planned
from pipeline.experiments.study_results import METRICS, existing_results, experiment_names, uncommitted
from pipeline.runtime.errors import UserError

GOOD: dict[str, Any] = {
    "top1": 0.5,
    "knn_top1": 0.25,
    "clusters": 4,
    "mutual_information_bits": 1.0,
    "conditional_entropy_bits": 0.5,
}
PLANNED = Planned("study--label--0", "label", 0, {"seed": 0})


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-qb", "main")
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "baseline")
    return tmp_path


def make_experiment(folder: Path, metrics: str, name: str = PLANNED.name) -> None:
    head = git(folder, "rev-parse", "HEAD")
    (folder / METRICS).parent.mkdir(parents=True)
    (folder / METRICS).write_text(metrics)
    git(folder, "checkout", "-q", "--detach")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "made")
    git(folder, "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", "HEAD")
    git(folder, "checkout", "-q", "main")


def test_figures_of_what_was_made(repository: Path) -> None:
    make_experiment(repository, json.dumps({"chosen": GOOD, "untrained": {"top1": None}}))
    (found,) = existing_results([PLANNED], repository).values()
    assert (found.figures, found.floors) == (GOOD, {"untrained": {"top1": None}})


def test_a_project_in_a_larger_repository(repository: Path) -> None:
    project = repository / "team/project"
    project.mkdir(parents=True)
    (project / "params.yaml").write_text("seed: 0\n")
    (project / "dvc.lock").write_text("schema: '2.0'\n")
    (repository / "params.yaml").write_text("of: another\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "a larger one")
    make_experiment(project, json.dumps({"chosen": GOOD}))
    assert existing_results([PLANNED], project)[PLANNED.name].figures == GOOD
    assert uncommitted(project) == []
    for changed in (repository / "params.yaml", project / "dvc.lock"):
        changed.write_text("changed: true\n")
    assert uncommitted(project) == []
    (project / "params.yaml").unlink()
    assert uncommitted(project) == ["params.yaml"]


def write_lock(folder: Path, images: str, path: str = "a.csv") -> None:
    ingest = {
        "cmd": "python stages/ingest.py",
        "params": {"params.yaml": {"seed": 0, "ingest": {"path": path}}},
        "outs": [{"path": "data/images", "md5": images}],
    }
    # DVC reads YAML, of which JSON is a part.
    (folder / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"ingest": ingest}}))


def test_results_of_images_that_changed_since_are_refused(repository: Path) -> None:
    write_lock(repository, "1")
    make_experiment(repository, json.dumps({"chosen": GOOD}))
    assert list(existing_results([PLANNED], repository)) == [PLANNED.name]  # nothing is ingested here
    for images, path in (("1", "a.csv"), ("2", "b.csv")):
        write_lock(repository, images, path)
        assert list(existing_results([PLANNED], repository)) == [PLANNED.name]
    write_lock(repository, "2")
    with pytest.raises(UserError, match=r"made from other images than data/images holds.*new name in ingest"):
        existing_results([PLANNED], repository)


@pytest.mark.parametrize(
    "metrics",
    [
        "",
        "{}",
        "[1]",
        "no JSON",
        "[" * 100_000,
        "9" * 5000,
        json.dumps({"chosen": None}),
        json.dumps({"chosen": [GOOD]}),
        json.dumps({"chosen": {"top1": "x"}}),
        json.dumps({"chosen": {"top1": 0.5}}),
        json.dumps({"chosen": GOOD | {"clusters": None}}),
        json.dumps({"chosen": GOOD | {"knn_top1": [1]}}),
        json.dumps({"chosen": GOOD, "untrained": {"top1": [1]}}),
        json.dumps({"chosen": GOOD, "untrained": 3}),
        json.dumps({"chosen": GOOD, "untrained": {"top1": 0.5}}),
        json.dumps({"chosen": GOOD | {"knn_top1": None}}),
        json.dumps({"chosen": {name: value for name, value in GOOD.items() if name != "knn_top1"}}),
        json.dumps({"chosen": GOOD | {"clusters": 10**400}}),
        json.dumps({"chosen": GOOD | {"top1": float("nan")}}),
        json.dumps({"chosen": GOOD | {"top1": float("inf")}}),
    ],
)
def test_metrics_that_are_none_are_named(repository: Path, metrics: str) -> None:
    make_experiment(repository, metrics)
    with pytest.raises(UserError, match=f"^the experiment {PLANNED.name} has no metrics .*`dvc exp remove"):
        existing_results([PLANNED], repository)


@pytest.mark.parametrize("name", ["a\u00a0b", "a\u2028b", "é"])
def test_names_that_git_allows(repository: Path, name: str) -> None:
    make_experiment(repository, json.dumps({"chosen": GOOD}), name)
    assert experiment_names(repository) == {name}
    assert existing_results([PLANNED], repository) == {}
