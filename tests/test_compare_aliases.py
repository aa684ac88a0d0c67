"""No commit that DVC would read may hold YAML whose aliases have no end."""

import subprocess
from pathlib import Path

import pytest

from pipeline.compare import aliases
from pipeline.compare.aliases import check_commits, check_workspace
from pipeline.errors import UserError
from pipeline.safe_yaml import check_aliases

BOMB = "\n".join(
    ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)), ""]
)
TOO_LARGE = "is too large where its aliases are written out"


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, name: str, content: str) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", name)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    git(tmp_path, "init", "-qb", "main")
    commit(tmp_path, "params.yaml", "seed: 0\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml", "dvc.lock", "below/é more.yml", "data.dvc"])
def test_the_workspace_and_its_commit(repository: Path, name: str) -> None:
    check_workspace()
    check_commits(["HEAD"])
    bomb = commit(repository, name, BOMB)
    with pytest.raises(UserError, match=f"{name} {TOO_LARGE}"):
        check_workspace()
    for revision in ("HEAD", "main", bomb[:9]):
        with pytest.raises(UserError, match=f"{name} of {bomb[:12]} {TOO_LARGE}"):
            check_commits([revision])


def test_an_experiment_of_a_stranger(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "checkout", "-q", "--detach")
    bomb = commit(repository, "params.yaml", BOMB)
    git(repository, "checkout", "-q", "main")
    check_commits(["HEAD"])
    git(repository, "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/pulled", bomb)
    check_workspace()
    with pytest.raises(UserError, match=f"params.yaml of {bomb[:12]} {TOO_LARGE}"):
        check_commits(["HEAD"])


def test_what_came_before(repository: Path) -> None:
    commit(repository, "params.yaml", BOMB)
    commit(repository, "params.yaml", "seed: 1\n")
    check_commits(["HEAD"])
    with pytest.raises(UserError, match=f"params.yaml of .* {TOO_LARGE}"):
        check_commits(["HEAD"], with_history=True)


@pytest.mark.parametrize("name", ["--output=x", "nobody", "HEAD:params.yaml", "HEAD..main", ""])
def test_names_that_are_no_commits_pass(repository: Path, name: str) -> None:
    check_commits([name], with_history=True)
    assert not (repository / "x").exists()


NAMES_IT = "stages: {a: {cmd: x, params: [{NAME: [a29]}]}}\n"


@pytest.mark.parametrize("name", ["notes.txt", "below/params", "other.conf"])
@pytest.mark.parametrize("padding", [0, 1 << 21])
def test_files_that_a_pipeline_names(repository: Path, name: str, padding: int) -> None:
    """DVC takes a file of any ending for YAML."""
    commit(repository, name, BOMB + "# pad\n" * (padding // 6))
    check_workspace()
    check_commits(["HEAD"])
    commit(repository, "dvc.yaml", NAMES_IT.replace("NAME", name))
    for look in (check_workspace, lambda: check_commits(["HEAD"])):
        with pytest.raises(UserError, match=TOO_LARGE):
            look()


def test_a_file_that_is_named_and_too_large_to_look_into(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aliases, "MOST_BYTES", 1 << 16)
    commit(repository, "notes.txt", "# pad & pad *\n" * 10_000)
    commit(repository, "dvc.yaml", NAMES_IT.replace("NAME", "notes.txt"))
    with pytest.raises(UserError, match=r"notes.txt is larger than 64 KiB: no file of its kind is"):
        check_workspace()


def test_files_of_dvc_are_bounded(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(aliases.MOST_BYTES_OF, "params.yaml", 10_000)
    commit(repository, "params.yaml", "a: 1\n" + "# long\n" * 3000)
    with pytest.raises(UserError, match="is larger than 9 KiB: no file of its kind is"):
        check_commits(["HEAD"])
    commit(repository, "params.yaml", "a: 1\n")
    commit(repository, "docs/api.yaml", "a: 1\n" + "# long\n" * 3000)
    check_commits(["HEAD"])


def test_outside_of_a_repository_git_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_workspace()
    check_commits(["HEAD", "main"], with_history=True)


@pytest.mark.parametrize(
    "content", ["a: b", "a: &x 1\nb: *x", "&", "a: [&", "!!python/object&x {", "\udcff&"]
)
def test_what_has_an_end_passes(content: str) -> None:
    check_aliases(content.encode(errors="surrogateescape"), "it")
