"""Stages compute with the code of the checkout that they lie in, whatever is installed."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from project import TINY, Project
from support import REPOSITORY

pytestmark = pytest.mark.slow

STAGES = ["ingest", "cluster", "pretrain", "evaluate", "report"]
WRITES = '"metrics.json", metrics(arms)'
"""In the report's code, where a change shows in a file that Git keeps."""


@pytest.fixture
def beside_another(tmp_path: Path) -> Project:
    """A project without DVC, where whoever does not look beside the stages finds another `pipeline`."""
    root, other = tmp_path / "project", tmp_path / "installed/pipeline"
    for name in ("pipeline", "stages"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "params.yaml", root)
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise ImportError('of another checkout')\n")
    project = Project(root)
    project.environment |= {"PYTHONPATH": str(other.parent)}
    small = {"synthetic": {"images": 40}, "image_size": 16}
    project.change_params(**TINY | {"ingest": small, "report": {"references": []}})
    return project


@pytest.mark.parametrize("variables", [{}, {"PYTHONSAFEPATH": "1"}], ids=["", "safe"])
def test_stages_import_what_lies_beside_them(beside_another: Project, variables: dict[str, str]) -> None:
    beside_another.environment |= variables
    for stage in (*STAGES, "untrained"):
        done = beside_another.run("python", f"stages/{stage}.py", "--help")
        assert "Usage" in done.stdout


def test_so_do_the_processes_that_they_start(beside_another: Project) -> None:
    """Those that decode images, torchrun's, and those that embed."""
    beside_another.environment |= {"CLINFONCE_PROCESSES": "2", "CLINFONCE_DEVICE": "cpu"}
    beside_another.change_params(pretrain={"epochs": 1, "batch_size": 16})
    beside_another.run("python", "stages/ingest.py")
    for stage in ("cluster", "pretrain", "evaluate"):
        beside_another.run("python", f"stages/{stage}.py", "chosen")
    beside_another.run("python", "stages/report.py")
    assert (beside_another.root / "data/report/report.html").exists()


def change_the_report(project: Project) -> None:
    code = project.root / "pipeline/report/run.py"
    assert code.read_text().count(WRITES) == 1
    code.write_text(code.read_text().replace(WRITES, f"{WRITES} | {{'changed': 1}}"))


def run_the_queue(project: Project) -> None:
    # The worker would hold on to a pipe.
    command = ["dvc", "queue", "start"]
    with open(os.devnull, "w") as nowhere:
        subprocess.run(
            command, cwd=project.root, env=project.environment, stdout=nowhere, stderr=nowhere, check=True
        )
    deadline = time.monotonic() + 150
    while "Success" not in (status := project.run("dvc", "queue", "status").stdout):
        assert time.monotonic() < deadline, status
        time.sleep(1)


def test_an_experiment_runs_the_code_that_it_records(project: Project) -> None:
    change_the_report(project)
    project.run("dvc", "exp", "run", "--queue", "-n", "changed")
    project.run("git", "checkout", "-q", "pipeline")
    run_the_queue(project)
    (result,) = project.run(
        "git", "for-each-ref", "--format=%(refname)", "refs/exps/**/changed"
    ).stdout.split()
    assert json.loads(project.run("git", "show", f"{result}:data/report/metrics.json").stdout)["changed"] == 1
    assert "changed" not in json.loads((project.root / "data/report/metrics.json").read_text())
    # What DVC remembers of the changed code is what that code made.
    change_the_report(project)
    done = project.run("dvc", "repro")
    assert "Stage 'report' is cached" in done.stdout
    assert json.loads((project.root / "data/report/metrics.json").read_text())["changed"] == 1
