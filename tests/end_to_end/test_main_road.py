"""`dvc repro` on the embedded data: what it leaves, what runs again, and how it survives."""

import json
import re
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from project import Project
from support import REPOSITORY

pytestmark = pytest.mark.slow

OF_ALL_ARMS = {"gap_closed", "gap_closed_low", "gap_closed_high", "baselines"}
ARM_KEYS = {
    "method",
    "clusters",
    "mutual_information_bits",
    "conditional_entropy_bits",
    "top1",
    "top5",
    "knn_top1",
}


def test_every_border_file_is_there(finished: Project) -> None:
    data = finished.root / "data"
    for arm in ("chosen", "instance", "label"):
        for name in ("assignments.parquet", "statistics.json"):
            assert (data / "clusters" / arm / name).stat().st_size
    arms = ["chosen", "untrained", "instance", "label"]
    for arm in arms:
        for name in ("encoder.safetensors", "config.json", "README.md", "history.csv"):
            assert (data / "encoders" / arm / name).stat().st_size
        for name in ("metrics.json", "per_class.csv"):
            assert (data / "evaluations" / arm / name).stat().st_size
    metrics = json.loads((data / "report/metrics.json").read_text())
    assert set(metrics) == {*arms, *OF_ALL_ARMS}
    assert set(metrics["chosen"]) >= ARM_KEYS
    assert pd.read_csv(data / "report/points.csv")["arm"].tolist() == arms
    assert "Report: data/report/report.html" in (finished.root.parent / "output.txt").read_text()


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
            [
                "evaluate@chosen",
                *(f"evaluate-reference@{arm}" for arm in ("instance", "label", "start", "untrained")),
                "report",
            ],
        ),
        (
            {"report": {"references": ["instance"]}},
            ["cluster-reference@instance", "cluster-reference@label", "report", "untrained"],
        ),
    ],
)
def test_a_change_runs_what_depends_on_it_alone(
    project: Project, change: dict[str, Any], stages: list[str]
) -> None:
    project.change_params(**change)
    assert sorted(project.would_run()) == sorted(stages)


def test_references_come_and_go_without_training_again(project: Project) -> None:
    """One that is left out makes placeholders; its training comes back from the cache."""

    def trained_with(references: list[str]) -> list[str]:
        project.change_params(report={"references": references})
        output = project.run("dvc", "repro").stdout
        metrics = json.loads((project.root / "data/report/metrics.json").read_text())
        assert set(metrics) == {"chosen", *OF_ALL_ARMS, *references}
        assert project.would_run() == []
        return re.findall(r"Running stage '(pretrain[^']*)'", output)

    folder = project.root / "data/encoders"
    weights = {arm: folder / arm / "encoder.safetensors" for arm in ("untrained", "instance", "label")}
    before = {arm: path.read_bytes() for arm, path in weights.items()}
    assert trained_with(["label"]) == ["pretrain-reference@instance"]
    assert not any((project.root / "data/encoders/instance").iterdir())
    assert not any((project.root / "data/encoders/untrained").iterdir())
    assert not any((project.root / "data/evaluations/instance").iterdir())
    refused = project.run("clinfonce", "export", "--output", "out", "--arm", "instance", check=False)
    assert refused.returncode == 2
    assert "choose one of chosen, label" in refused.stderr
    assert trained_with([]) == ["pretrain-reference@label"]
    assert trained_with(["untrained", "instance", "label"]) == []
    assert {arm: path.read_bytes() for arm, path in weights.items()} == before


def test_an_arm_is_one_of_those_that_there_are(project: Project) -> None:
    for stage in ("cluster", "pretrain", "evaluate"):
        done = project.run("python", f"stages/{stage}.py", "../../elsewhere", check=False)
        assert done.returncode == 2
        assert "is not one of" in done.stderr
        assert "Traceback" not in done.stderr


def test_no_value_of_params_reaches_a_shell_or_a_path(project: Project) -> None:
    """A reference that is a command, or a path, is a mistake in params.yaml like any other."""
    for reference in ("label; touch PWNED #", "$(touch PWNED)", "../../../outside", "label && touch PWNED"):
        project.change_params(report={"references": [reference]})
        done = project.run("dvc", "repro", check=False)
        assert done.returncode != 0
        assert "must be one of" in done.stderr
    assert not list(project.root.rglob("PWNED"))


@pytest.mark.parametrize(
    ("stage", "change", "sentence"),
    [
        ("ingest", {"cluster": {"method": "kmean"}}, "cluster.method=kmean must be one of"),
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
