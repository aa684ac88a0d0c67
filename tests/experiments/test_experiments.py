"""`dvc exp run` with other parameters, and the table of all experiments."""

import json

import pandas as pd
import pytest

from project import Project

pytestmark = pytest.mark.slow

CHOSEN = ["cluster@chosen", "pretrain@chosen", "evaluate@chosen", "report"]


def test_an_experiment_with_another_method_re_runs_the_chosen_arm_alone(project: Project) -> None:
    reference = (project.root / "data/encoders/instance/encoder.safetensors").read_bytes()
    done = project.run("dvc", "exp", "run", "-n", "by-kmeans", "-S", "cluster.method=kmeans")
    ran = [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")]
    assert sorted(ran) == sorted(CHOSEN)
    assert (project.root / "data/encoders/instance/encoder.safetensors").read_bytes() == reference
    metrics = json.loads((project.root / "data/report/metrics.json").read_text())
    trajectory = pd.read_csv(project.root / "data/evaluations/chosen/trajectory.csv")
    assert metrics["chosen"]["method"] == "kmeans"
    assert trajectory["epoch"].tolist() == [1, 2, 3]
    last = trajectory.iloc[-1]
    assert metrics["chosen"]["mutual_information_bits"] == pytest.approx(last["mutual_information_bits"])

    project.run("clinfonce", "compare")
    assert "kmeans" in (project.root / "compare.md").read_text()
