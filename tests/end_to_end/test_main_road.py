"""`dvc repro` on the embedded data: what it leaves, what runs again, and how it survives."""

import json
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
