"""Git, as the commands run it, asks no server, and starts no program that a repository's settings name."""

import ast
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from doctor.small_project import one
from listener import Listener
from pipeline.doctor.base import Situation
from pipeline.doctor.stage_state import look
from pipeline.experiments.compare import compare_experiments
from pipeline.experiments.study_results import uncommitted
from pipeline.report.provenance import commit
from pipeline.runtime.errors import UserError
from pipeline.untrusted.git import check_complete, check_trusted, git_environment, read_blob, run_git
from support import REPOSITORY


def git(*arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the branches `main` and `theirs`, that serves partial clones."""
    root = tmp_path / "server"
    (root / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(root)
    git("init", "-qb", "main")
    (root / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (root / "dvc.yaml").write_text("metrics: [m.json]\n")
    (root / "m.json").write_text('{"chosen": {"method": "x", "top1": 0.5}}')
    git("add", "-A")
    git("commit", "-qm", "ours")
    git("checkout", "-qb", "theirs")
    (root / "m.json").write_text('{"chosen": {"method": "y", "top1": 0.6}}')
    git("commit", "-qam", "theirs")
    git("checkout", "-q", "main")
    git("config", "uploadpack.allowFilter", "true")
    return root


@pytest.fixture
def partial(server: Path, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone without the files of `theirs`, whose server is `listener` from now on."""
    git("clone", "-q", "--filter=blob:none", f"file://{server}", str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")
    git("remote", "set-url", "origin", f"git://127.0.0.1:{listener.port}/r")
    return tmp_path / "clone"


def test_git_itself_would_ask(partial: Path, listener: Listener) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        git("cat-file", "blob", "origin/theirs:m.json")
    assert listener.requested


def test_a_partial_clone_fetches_nothing(partial: Path, listener: Listener) -> None:
    assert read_blob("origin/theirs:m.json", 100) == b""
    assert read_blob("HEAD:m.json", 100).startswith(b"{")
    assert run_git("fetch").returncode
    assert uncommitted(partial) == []
    assert commit() is not None
    theirs = git("rev-parse", "origin/theirs")
    for named in ("origin/theirs", theirs):
        with pytest.raises(UserError, match="this clone is partial and lacks files of"):
            compare_experiments([named], Path("compare.html"), Path("compare.md"), None)
    check_complete(["HEAD", "main"])
    assert not listener.requested


def test_nothing_that_a_repository_s_settings_name_is_started(server: Path) -> None:
    script = server / "script"
    script.write_text("#!/bin/sh\ntouch ran\n")
    script.chmod(0o755)
    git("config", "core.fsmonitor", str(script))
    hooks = server / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "post-index-change").symlink_to(script)
    (server / "m.json").write_text("{}")
    assert uncommitted(server) == ["m.json"]
    assert str(commit()).endswith("with changes")
    assert not (server / "ran").exists()
    git("status")  # which has it run, as users do
    assert (server / "ran").exists()


def test_settings_of_the_caller_stay(monkeypatch: pytest.MonkeyPatch, server: Path) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.abbrev")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "5")
    assert len(run_git("rev-parse", "--short", "HEAD").stdout.strip()) == 5
    assert run_git("config", "protocol.allow").stdout == "never\n"
    monkeypatch.setenv("GIT_CONFIG_COUNT", "x")
    assert git_environment()["GIT_CONFIG_COUNT"] == "3"


def test_a_blob_is_read_up_to_its_limit(server: Path) -> None:
    (server / "large").write_bytes(b"a" * 1_000_000)
    git("add", "large")
    assert len(read_blob(":./large", 10_000)) == 10_001
    assert len(read_blob(":large", 1_000_000, server.parent / "server/.dvc")) == 1_000_000


def test_a_repository_of_another_user_is_named_with_the_cure(
    server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_trusted(server)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    cure = f"git config --global --add safe.directory {server}"
    with pytest.raises(UserError, match=f"which belongs to another user: if you trust it, run `{cure}`$"):
        check_trusted(server)
    with pytest.raises(UserError, match=cure):
        compare_experiments([], with_experiments=True, html=Path("c.html"), markdown=Path("c.md"), csv=None)
    assert "belongs to another user" in one(look(Situation(None)), "repository").found


def test_without_git_a_sentence_says_so(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(
        UserError, match=r"^git can't be started .*: install Git, in which DVC keeps experiments$"
    ):
        uncommitted(server)
    assert commit() is None


def test_git_is_run_nowhere_else() -> None:
    for path in [*(REPOSITORY / "pipeline").rglob("*.py"), *(REPOSITORY / "stages").glob("*.py")]:
        if path == REPOSITORY / "pipeline/untrusted/git.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.List | ast.Tuple) and node.elts:
                first = node.elts[0]
                assert not (isinstance(first, ast.Constant) and first.value == "git"), path
