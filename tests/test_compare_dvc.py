"""`clinfonce compare` in a real repository, small enough to run its experiments here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipeline.cli import app

BIN = Path(sys.executable).parent

PARAMS = "seed: 0\ncluster:\n  method: attributes\n  attributes: {top: 6, columns: []}\n"

PIPELINE = """
stages:
  cluster:
    cmd: python cluster.py
    deps: [cluster.py]
    params: [seed, cluster]
    outs: [data/clusters/chosen]
  report:
    cmd: python report.py
    deps: [report.py, data/clusters/chosen]
    metrics:
      - data/report/metrics.json: {cache: false}
"""

CLUSTER = """
import pathlib, re
method = re.search("method: (\\\\w+)", pathlib.Path("params.yaml").read_text())[1]
folder = pathlib.Path("data/clusters/chosen")
folder.mkdir(parents=True)
(folder / "method").write_text(method)
"""

REPORT = """
import json, pathlib
method = pathlib.Path("data/clusters/chosen/method").read_text()
figures = {"method": method, "clusters": len(method), "mutual_information_bits": 1.5,
           "conditional_entropy_bits": 0.5, "top1": len(method) / 20, "top5": None, "knn_top1": 0.5}
pathlib.Path("data/report").mkdir(parents=True, exist_ok=True)
pathlib.Path("data/report/metrics.json").write_text(json.dumps({"chosen": figures, "gap_closed": None}))
"""


def run(folder: Path, *command: str) -> None:
    environment = os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baseline of attributes (.50), an experiment of kmeans (.30), one of hashtags without its report."""
    folder = tmp_path_factory.mktemp("repository")
    for name, text in {
        "params.yaml": PARAMS,
        "dvc.yaml": PIPELINE,
        "cluster.py": CLUSTER,
        "report.py": REPORT,
    }.items():
        (folder / name).write_text(text)
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "git", "config", "user.name", "someone")
    run(folder, "git", "config", "user.email", "someone@example.org")
    run(folder, "dvc", "init", "-q")
    run(folder, "dvc", "config", "core.analytics", "false")
    run(folder, "dvc", "repro", "-q")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", "baseline")
    run(folder, "dvc", "exp", "run", "-q", "-n", "by-features", "-S", "cluster.method=kmeans")
    run(folder, "dvc", "exp", "run", "-q", "-n", "unfinished", "-S", "cluster.method=hashtags", "cluster")
    run(folder, "git", "checkout", "-q", ".")
    return folder


def compared(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> Result:
    monkeypatch.chdir(folder)
    return CliRunner(env={"COLUMNS": "100"}).invoke(app, ["compare", *arguments])


def table_of(printed: str) -> list[list[str]]:
    """Name and top-1 of each row of the printed table."""
    rows = [line.split() for line in printed.splitlines() if line[:1].isdigit()]
    return [[name, top1] for _, name, top1, *_ in rows]


def test_experiments_are_read_as_dvc_keeps_them(repository: Path, monkeypatch: pytest.MonkeyPatch):
    printed = compared(monkeypatch, repository).stdout
    assert table_of(printed) == [["main", "50.0"], ["by-features", "30.0"]]
    assert "unfinished: its figures were made with other parameters" in printed
    assert "2  by-features: kmeans" in printed
    assert (repository / "compare.html").exists()
    assert (repository / "compare.md").exists()


def test_experiments_can_be_named(repository: Path, monkeypatch: pytest.MonkeyPatch):
    printed = compared(monkeypatch, repository, "by-features", "--csv", "few.csv").stdout
    assert table_of(printed) == [["by-features", "30.0"]]
    assert len((repository / "few.csv").read_text().splitlines()) == 2


def test_a_branch_stands_for_itself_and_its_experiments(repository: Path, monkeypatch: pytest.MonkeyPatch):
    printed = compared(monkeypatch, repository, "main").stdout
    assert table_of(printed) == [["main", "50.0"], ["by-features", "30.0"]]


def test_an_unknown_name_is_told(repository: Path, monkeypatch: pytest.MonkeyPatch):
    ended = compared(monkeypatch, repository, "nothing-of-that-name")
    assert ended.exit_code == 2
    assert ended.stderr.startswith("error: there is no experiment, branch or commit nothing-of-that-name")


def test_outside_of_a_repository_it_says_where_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ended = compared(monkeypatch, tmp_path)
    assert ended.exit_code == 2
    assert "run in the project's folder" in ended.stderr
    assert list(tmp_path.iterdir()) == []
