"""A copy of the repository in which `dvc repro` has run on a tiny data set, made once a session."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from project import Project
from support import REPOSITORY

COPIED = ["pipeline", "stages", "params.yaml", "dvc.yaml", ".dvcignore", ".gitignore"]
TINY: dict[str, dict[str, Any]] = {
    "ingest": {"image_size": 16, "synthetic": {"images": 320}},
    "cluster": {"kmeans": {"clusters": 8, "iterations": 5, "restarts": 1}},
    "pretrain": {"epochs": 3, "batch_size": 64, "precision": "float32"},
}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Read it, or copy it with `project`: tests must not change it."""
    root = tmp_path_factory.mktemp("finished") / "project"
    root.mkdir()
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    (root / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(REPOSITORY / ".dvc" / name, root / ".dvc" / name)
    project = Project(root)
    project.change_params(**TINY)
    project.run("git", "init", "-q", "-b", "main")
    project.output_of_repro = project.run("dvc", "repro").stdout
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "tiny")
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project that a test may change."""
    shutil.copytree(finished.root, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")
