"""What DVC moves about: to another clone, out of the cache, and back from an experiment."""

import shutil
from pathlib import Path

import pytest

from project import Project

pytestmark = pytest.mark.slow

REPORT = "data/report/report.md"


def test_what_was_pushed_is_all_that_another_clone_needs(project: Project, tmp_path: Path) -> None:
    """A shallow one with its head detached, by somebody without a name, in another language."""
    project.run("dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    project.run("git", "commit", "-qam", "a remote")
    project.run("dvc", "push")
    project.run("git", "tag", "-a", "encoder@v1.0.0", "-m", "the first")
    project.run("git", "clone", "-q", "--depth", "1", f"file://{project.root}", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    for name in ("NAME", "EMAIL"):
        for role in ("AUTHOR", "COMMITTER"):
            del clone.environment[f"GIT_{role}_{name}"]
    clone.environment |= {"GIT_CONFIG_GLOBAL": "/dev/null", "LC_ALL": "C", "PYTHONUTF8": "0", "TERM": "dumb"}
    clone.run("git", "checkout", "-q", "--detach")
    clone.run("dvc", "pull")
    assert clone.would_run() == []
    assert (clone.root / REPORT).read_bytes() == (project.root / REPORT).read_bytes()
    clone.run("dvc", "exp", "run", "-n", "titled", "-S", "report.title=Ours")
    assert "Ours" in (clone.root / REPORT).read_text()
    clone.run("clinfonce", "compare", "HEAD", "titled")
    assert "titled" in (clone.root / "compare.md").read_text()

    clone.run("dvc", "artifacts", "get", str(project.root), "encoder", "--rev", "v1.0.0", "--out", "fetched")
    weights = "encoder.safetensors"
    assert (clone.root / "fetched" / weights).read_bytes() == (
        project.root / "data/encoders/chosen" / weights
    ).read_bytes()


def test_an_experiment_comes_back_after_the_cache_was_cleaned(project: Project, tmp_path: Path) -> None:
    """In a worktree of the repository, as well."""
    project.run("dvc", "exp", "run", "-n", "titled", "-S", "report.title=Ours")
    project.run("git", "checkout", "-q", ".")
    project.run("dvc", "checkout")
    assert "Ours" not in (project.root / REPORT).read_text()
    project.run("dvc", "gc", "--workspace", "--all-experiments", "--force")
    project.run("dvc", "exp", "apply", "titled")
    assert "Ours" in (project.root / REPORT).read_text()
    assert project.would_run() == []

    project.run("git", "worktree", "add", "-q", str(tmp_path / "beside"))
    beside = Project(tmp_path / "beside")
    beside.run("clinfonce", "compare", "titled", "main")
    assert "titled" in (beside.root / "compare.md").read_text()
    # The cache of the first serves it, too.
    shutil.copy(project.root / ".dvc/config", beside.root / ".dvc/config")
    beside.run("dvc", "cache", "dir", "--local", str(project.root / ".dvc/cache"))
    beside.run("dvc", "checkout")
    assert beside.would_run() == []
