"""A repository with DVC in a folder of its own, and how to run commands in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from support import REPOSITORY

COPIED = ["pipeline", "stages", "params.yaml", "dvc.yaml", ".dvcignore", ".gitignore"]
TINY: dict[str, dict[str, Any]] = {
    "ingest": {"image_size": 16, "synthetic": {"images": 320}},
    "cluster": {"kmeans": {"clusters": 8, "max_iter": 5, "n_init": 1}},
    "pretrain": {"epochs": 4, "batch_size": 64, "precision": "float32"},
}


def merge(values: Any, changes: dict[str, Any]) -> None:
    for key, change in changes.items():
        if isinstance(change, dict):
            merge(values[key], change)
        else:
            values[key] = change


class Project:
    def __init__(self, root: Path) -> None:
        self.root = root
        scripts = str(Path(sys.executable).parent)
        # CLINFONCE_ and DVC_ variables of the caller must not reach the copy.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CLINFONCE_", "DVC_"))}
        self.environment = kept | {
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "GIT_AUTHOR_NAME": "t",
            "GIT_AUTHOR_EMAIL": "t@example.org",
            "GIT_COMMITTER_NAME": "t",
            "GIT_COMMITTER_EMAIL": "t@example.org",
            "DVC_NO_ANALYTICS": "1",
            # Every epoch's end is saved, however short, so that what is killed has a state to go on from.
            "CLINFONCE_SAVING_SHARE": "1e9",
            # A shell that, unlike bash, doesn't replace itself by its last command.
            "SHELL": "/bin/sh",
        }

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def change_params(self, **sections: Any) -> None:
        yaml = YAML()
        values = yaml.load(self.root / "params.yaml")
        merge(values, sections)
        yaml.dump(values, self.root / "params.yaml")

    def would_run(self) -> list[str]:
        """The stages that `dvc repro` would run now."""
        output = self.run("dvc", "repro", "--dry").stdout
        return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def make_finished(root: Path) -> None:
    """A copy of the repository in `root`, in which `dvc repro` has run on a tiny data set."""
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
    shutil.copytree(REPOSITORY / ".dvc" / "plots", root / ".dvc" / "plots")
    project = Project(root)
    project.change_params(**TINY)
    project.run("git", "init", "-q", "-b", "main")
    (root.parent / "output.txt").write_text(project.run("dvc", "repro").stdout)
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "tiny")
