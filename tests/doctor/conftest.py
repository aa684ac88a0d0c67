"""A small project as a person has it after some stages."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from small_project import tiny, write_params

from pipeline.clustering.run import cluster
from pipeline.doctor.checks import Situation
from pipeline.ingest.run import ingest
from pipeline.schema import Layout


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
