"""A project of two stages as DVC recorded it, damaged by the tests of `clinfonce repair`."""

import subprocess
import sys
from pathlib import Path

from pipeline.doctor.repair import repair

PIPELINE = """
stages:
  make:
    cmd: python make.py
    outs:
      - data/images
      - data/clusters/a.txt
      - data/clusters/b.txt
    metrics:
      - data/metrics.json: {cache: false}
  later:
    cmd: python later.py
    outs: [data/later]
"""
MAKE = """
import pathlib
for name in ("images/one.txt", "images/sub/two.txt", "clusters/a.txt", "clusters/b.txt", "metrics.json"):
    path = pathlib.Path("data", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'"content of {name}"')
"""
IMAGES, ONE, A = "data/images", "data/images/one.txt", "data/clusters/a.txt"


def dvc(*arguments: str) -> None:
    command = [sys.executable, "-m", "dvc", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def contents(root: Path) -> dict[str, bytes]:
    """Of all outputs and of DVC's cache."""
    files = [*root.glob("data/**/*"), *root.glob(".dvc/cache/files/**/*")]
    return {str(path.relative_to(root)): path.read_bytes() for path in files if path.is_file()}


def run_repair(path: str | Path, *, agree: bool = True, recorded: bool = False) -> None:
    repair(Path(path), lambda: agree, recorded=recorded)


def damage(path: Path) -> None:
    path.chmod(0o644)
    path.write_text("damaged")


def cached_copy(root: Path, content: bytes) -> Path:
    (found,) = [path for path in root.glob(".dvc/cache/files/md5/*/*") if path.read_bytes() == content]
    return found
