"""A repository small enough to run its experiments in a test, and `clinfonce compare` there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

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
    outs: [data/report/points.csv]
    metrics:
      - data/report/metrics.json: {cache: false}
"""

CLUSTER = """
import pathlib, re, sys
method = re.search("method: (\\\\w+)", pathlib.Path("params.yaml").read_text())[1]
if method == "guesses":
    print("error: cluster.method=guesses must be one of", file=sys.stderr)
    sys.exit(2)
folder = pathlib.Path("data/clusters/chosen")
folder.mkdir(parents=True)
(folder / "method").write_text(method)
"""

REPORT = """
import csv, json, pathlib
method = pathlib.Path("data/clusters/chosen/method").read_text()
figures = {"method": method, "clusters": len(method), "mutual_information_bits": len(method) / 4,
           "conditional_entropy_bits": 0.5, "top1": len(method) / 20, "top5": None, "knn_top1": 0.5}
pathlib.Path("data/report").mkdir(parents=True, exist_ok=True)
pathlib.Path("data/report/metrics.json").write_text(json.dumps({"chosen": figures, "gap_closed": None}))
points = [figures | {"arm": "chosen"}, figures | {"arm": "label", "method": "label", "top1": None}]
with open("data/report/points.csv", "w", newline="") as file:
    writer = csv.DictWriter(file, list(points[0]))
    writer.writeheader()
    writer.writerows(points)
"""


def environment() -> dict[str, str]:
    return os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }


def run(folder: Path, *command: str) -> str:
    ended = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def compared(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> Result:
    monkeypatch.chdir(folder)
    return CliRunner(env={"COLUMNS": "100"}).invoke(app, ["compare", *arguments])


def table_of(printed: str) -> list[list[str]]:
    """Name and top-1 of each row of the printed table."""
    rows = [line.split() for line in printed.splitlines() if line[:1].isdigit() and " % " in line]
    return [[name, top1] for _, name, top1, *_ in rows]
