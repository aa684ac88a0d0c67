"""`clinfonce compare` where the project is a folder of a larger repository, and where history is long."""

import shutil
from pathlib import Path

import pytest

from experiments.small_repository import CLUSTER, PARAMS, PIPELINE, REPORT, compared, run, table_of
from pipeline.untrusted.dvc_lock import read_lock

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The baseline of attributes (.50), an experiment of kmeans (.30), and beside them a copy of the project,
    so that every name of a parameter is there twice. An early commit held what DVC could not read."""
    run(tmp_path, "git", "init", "-q", "-b", "main")
    run(tmp_path, "git", "config", "user.name", "someone")
    run(tmp_path, "git", "config", "user.email", "someone@example.org")
    run(tmp_path, "dvc", "init", "-q")
    run(tmp_path, "dvc", "config", "core.analytics", "false")
    folder = tmp_path / "teams/one"
    folder.mkdir(parents=True)
    files = {"params.yaml": PARAMS, "dvc.yaml": PIPELINE, "cluster.py": CLUSTER, "report.py": REPORT}
    for name, text in files.items():
        (folder / name).write_text(text)
    aliases = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    (tmp_path / "params.yaml").write_text("\n".join(["a0: &a0 [x]", *aliases, ""]))
    run(tmp_path, "git", "add", "-A")
    run(tmp_path, "git", "commit", "-qm", "unreadable")
    (tmp_path / "params.yaml").unlink()
    run(folder, "dvc", "repro", "-q")
    shutil.copytree(folder, tmp_path / "teams/two")
    run(tmp_path, "git", "add", "-A")
    run(tmp_path, "git", "commit", "-qm", "baseline")
    run(folder, "dvc", "exp", "run", "-q", "-n", "by-features", "-S", "cluster.method=kmeans")
    run(folder, "git", "checkout", "-q", ".")
    return folder


def test_a_folder_of_a_larger_repository(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for names in ([], ["main", "by-features"], ["HEAD", "by-features"]):
        printed = compared(monkeypatch, project, *names).stdout
        assert [top1 for _, top1 in table_of(printed)] == ["50.0", "30.0"], names
    lock = read_lock("main")
    assert lock is not None
    assert set(lock["stages"]) == {"cluster", "report"}
