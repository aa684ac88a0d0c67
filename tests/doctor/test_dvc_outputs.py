"""What DVC refuses has its own cure."""

import errno
import fcntl
from pathlib import Path
from typing import Any

import dvc.lock
import pytest

from doctor.recorded_project import A
from doctor.recorded_project import dvc as run_dvc
from pipeline.doctor.dvc_outputs import outputs
from pipeline.runtime.errors import UserError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    run_dvc("init", "-q", "--no-scm")
    monkeypatch.setattr(dvc.lock, "DEFAULT_TIMEOUT", 0.06)
    return tmp_path


def message() -> str:
    with pytest.raises(UserError) as refused, outputs({"path": A}):
        pass
    return str(refused.value)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks(project: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(fcntl, "flock", refuse)
    said = message()
    assert said.startswith(f"{A} cannot be repaired here (the file system of .dvc/tmp has no locks: ")
    assert "remove .dvc/tmp/lock, and run `dvc config --local core.hardlink_lock true`" in said
    (project / ".dvc/tmp/lock").unlink()
    run_dvc("config", "--local", "core.hardlink_lock", "true")
    with outputs({"path": A}) as found:
        assert found["outputs"] == []


@pytest.mark.parametrize(
    ("by_links", "cure"), [(False, "end it"), (True, "remove .dvc/tmp/lock if none does")]
)
def test_another_command_of_dvc(project: Path, by_links: bool, cure: str) -> None:
    run_dvc("config", "core.hardlink_lock", str(by_links).lower())
    with outputs({"path": A}):
        said = message()
    assert said == f"{A} cannot be repaired here while another command of DVC runs: wait for it, or {cure}"


def test_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert message().endswith("): run it where dvc.yaml lies")


def test_files_that_dvc_refuses(project: Path) -> None:
    (project / "dvc.yaml").write_text("stages: 3\n")
    assert "dvc.yaml" in message()
    assert message().endswith("and run `dvc status`, which must list what changed")
