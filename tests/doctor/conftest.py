"""A small project as a person has it after some stages."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from doctor.recorded_project import MAKE, PIPELINE, dvc
from doctor.small_project import run_trial_here, tiny, write_params
from pipeline.clustering.run import cluster
from pipeline.doctor import estimate as cost
from pipeline.doctor.base import Situation
from pipeline.ingest.run import ingest
from pipeline.storage.schema import Layout
from processes import started


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CLINFONCE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def folder(tmp_path: Path, manifest: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with params.yaml for a manifest of 24 images; nothing has run."""
    folder = tmp_path / "project"
    (folder / ".dvc").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", folder], check=True)
    monkeypatch.chdir(folder)
    write_params(folder, tiny(manifest()))
    return folder


@pytest.fixture
def ingested(folder: Path, manifest: Callable[..., Path]) -> Situation:
    """The same after ingest and the chosen arm's clusters."""
    params = tiny(manifest())
    layout = Layout()
    ingest(params.ingest, params.seed, layout)
    cluster(params.cluster, "chosen", params.pretrain.batch_size, params.seed, layout)
    return Situation(params, seconds=0.05)


@pytest.fixture
def soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials in processes that are there at once: `test_doctor_command` has those that python starts."""

    def run(_command: list[str], *, input: str, **_more: Any) -> subprocess.CompletedProcess[str]:
        said = [tmp_path / "stdout.txt", tmp_path / "stderr.txt"]
        process = started(run_trial_here, input, said)
        process.join(120)
        assert process.exitcode is not None
        return subprocess.CompletedProcess([], process.exitcode, *(path.read_text() for path in said))

    monkeypatch.setattr(cost, "subprocess", SimpleNamespace(run=run))


@pytest.fixture(scope="session")
def recorded_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its outputs, whose cache two clones could share: copies, no links."""
    root = tmp_path_factory.mktemp("repair") / "project"
    root.mkdir()
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "make.py").write_text(MAKE)
    before = Path.cwd()
    os.chdir(root)
    try:
        dvc("init", "-q", "--no-scm")
        dvc("config", "core.analytics", "false")
        dvc("repro", "-q", "make")
    finally:
        os.chdir(before)
    return root


@pytest.fixture
def root(recorded_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "project"
    shutil.copytree(recorded_project, copy, symlinks=True)
    monkeypatch.chdir(copy)
    return copy
