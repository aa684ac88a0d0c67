"""`dvc repro` on the embedded data: what it leaves, what runs again, and how it survives."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from project import Project
from support import REPOSITORY

ARM_KEYS = {
    "method",
    "clusters",
    "mutual_information_bits",
    "conditional_entropy_bits",
    "top1",
    "top5",
    "knn_top1",
}
CHOSEN = ["cluster@chosen", "pretrain@chosen", "evaluate@chosen", "report"]


def test_every_border_file_is_there(finished: Project) -> None:
    data = finished.root / "data"
    for arm in ("chosen", "instance", "label"):
        for name in ("assignments.parquet", "statistics.json"):
            assert (data / "clusters" / arm / name).stat().st_size
        for name in ("encoder.safetensors", "config.json", "README.md", "history.csv"):
            assert (data / "encoders" / arm / name).stat().st_size
        for name in ("metrics.json", "per_class.csv"):
            assert (data / "evaluations" / arm / name).stat().st_size
    metrics = json.loads((data / "report/metrics.json").read_text())
    assert set(metrics) == {"chosen", "instance", "label", "gap_closed"}
    assert set(metrics["chosen"]) >= ARM_KEYS
    assert pd.read_csv(data / "report/points.csv")["arm"].tolist() == ["chosen", "instance", "label"]
    assert "Report: data/report/report.html" in finished.output_of_repro


def test_metrics_are_in_git_and_outputs_are_not(finished: Project) -> None:
    tracked = finished.run("git", "ls-files", "data").stdout.split()
    assert tracked == ["data/report/metrics.json"]


def test_a_second_run_does_nothing(finished: Project) -> None:
    assert finished.would_run() == []
    assert "Data and pipelines are up to date" in finished.run("dvc", "status").stdout


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        # Before a stage has run, DVC can't know that its outputs change, so it names the first stage alone.
        ({"cluster": {"method": "hashtags"}}, ["cluster@chosen", "report"]),
        ({"cluster": {"kmeans": {"clusters": 5}}}, ["cluster@chosen", "report"]),
        ({"report": {"title": "Mine"}}, ["report"]),
        (
            {"evaluate": {"neighbours": 5}},
            ["evaluate@chosen", "evaluate-reference@instance", "evaluate-reference@label", "report"],
        ),
        ({"report": {"references": ["instance"]}}, ["report"]),
    ],
)
def test_a_change_runs_what_depends_on_it_alone(
    project: Project, change: dict[str, Any], stages: list[str]
) -> None:
    project.change_params(**change)
    assert sorted(project.would_run()) == sorted(stages)


def test_without_references_there_are_no_reference_stages(project: Project) -> None:
    project.change_params(report={"references": []})
    names = project.run("dvc", "stage", "list", "--name-only").stdout.split()
    assert names == ["ingest", "cluster@chosen", "pretrain@chosen", "evaluate@chosen", "report"]
    project.run("dvc", "repro")
    assert set(json.loads((project.root / "data/report/metrics.json").read_text())) == {
        "chosen",
        "gap_closed",
    }


def test_an_experiment_with_another_method_re_runs_the_chosen_arm_alone(project: Project) -> None:
    reference = (project.root / "data/encoders/instance/encoder.safetensors").read_bytes()
    done = project.run("dvc", "exp", "run", "-n", "by-kmeans", "-S", "cluster.method=kmeans")
    ran = [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")]
    assert sorted(ran) == sorted(CHOSEN)
    assert (project.root / "data/encoders/instance/encoder.safetensors").read_bytes() == reference
    metrics = json.loads((project.root / "data/report/metrics.json").read_text())
    trajectory = pd.read_csv(project.root / "data/evaluations/chosen/trajectory.csv")
    assert metrics["chosen"]["method"] == "kmeans"
    assert trajectory["epoch"].tolist() == [1, 2]
    last = trajectory.iloc[-1]
    assert metrics["chosen"]["mutual_information_bits"] == pytest.approx(last["mutual_information_bits"])

    project.run("clinfonce", "compare")
    assert "kmeans" in (project.root / "compare.md").read_text()


def wait_for_state(root: Path, process: subprocess.Popen[bytes]) -> int:
    """Waits until the trainer has saved a state; returns its process id."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "ended before it could be killed"
        for state in root.glob(".clinfonce/*/state.pt"):
            return int((state.parent / "lock").read_text())
        time.sleep(0.01)
    raise AssertionError("no state was saved in time")


def is_running(process_id: int) -> bool:
    status = Path(f"/proc/{process_id}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc to see whether a process lives")
def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(project: Project) -> None:
    weights = project.root / "data/encoders/chosen/encoder.safetensors"
    project.change_params(pretrain={"epochs": 12})
    project.run("dvc", "repro", "pretrain@chosen")
    undisturbed = weights.read_bytes()

    command = ["dvc", "repro", "--force", "--single-item", "pretrain@chosen"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    # First the trainer itself is killed, then, on the next try, DVC above it.
    with subprocess.Popen(command, cwd=project.root, env=project.environment, **quiet) as process:
        os.kill(wait_for_state(project.root, process), signal.SIGKILL)
        assert process.wait(60) != 0
    assert not weights.exists()
    with subprocess.Popen(command, cwd=project.root, env=project.environment, **quiet) as process:
        trainer = wait_for_state(project.root, process)
        while trainer == int((next(project.root.glob(".clinfonce/*/lock"))).read_text()) and not is_running(
            trainer
        ):
            time.sleep(0.01)  # the lock still names the trainer that was killed
        trainer = int((next(project.root.glob(".clinfonce/*/lock"))).read_text())
        os.kill(trainer, signal.SIGSTOP)  # so that it can't end before DVC has died
        process.kill()
    os.kill(trainer, signal.SIGCONT)
    deadline = time.monotonic() + 30
    while is_running(trainer) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(trainer), "an orphan goes on training"
    assert not weights.exists()

    # SIGKILL leaves DVC's own lock behind; DVC sees that its holder is gone.
    done = project.run(*command)
    assert "resuming from epoch" in done.stdout + done.stderr
    assert weights.read_bytes() == undisturbed
    assert not list(project.root.glob(".clinfonce/*"))


@pytest.mark.parametrize(
    ("stage", "change", "sentence"),
    [
        ("ingest", {"cluster": {"method": "kmean"}}, "cluster.method=kmean is none of its values"),
        ("report", {"pretrain": {"epochs": "many"}}, "pretrain.epochs='many' has the wrong type"),
        (
            "ingest",
            {"ingest": {"source": "manifest", "path": "absent.csv"}},
            "absent.csv (ingest.path) does not exist",
        ),
    ],
)
def test_mistakes_end_in_one_sentence_and_exit_code_2(
    project: Project, stage: str, change: dict[str, Any], sentence: str
) -> None:
    project.change_params(**change)
    done = project.run("python", f"stages/{stage}.py", check=False)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1


def test_params_of_the_copy_are_tiny(finished: Project) -> None:
    """Guards this file: with the default sizes the suite would take many minutes."""
    own = YAML(typ="safe").load(REPOSITORY / "params.yaml")["ingest"]["synthetic"]["images"]
    tiny = YAML(typ="safe").load(finished.root / "params.yaml")["ingest"]["synthetic"]["images"]
    assert tiny < own / 10
