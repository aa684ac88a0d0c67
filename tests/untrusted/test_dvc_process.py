"""DVC reads strangers' repositories in a process that ends, whatever a few lines there stand for."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.doctor.repair import repair
from pipeline.experiments.compare import compare_experiments
from pipeline.runtime.errors import UserError
from pipeline.untrusted.dvc import process

pytestmark = pytest.mark.slow


def chain(first: str, link: str, length: int) -> str:
    """Each value is made of nine times the one before it."""
    links = [link.format(n=n, before=", ".join([f"*a{n - 1}"] * 9)) for n in range(1, length)]
    return "\n".join([first, *links, ""])


LISTS = chain("a0: &a0 [x]", "a{n}: &a{n} [{before}]", 30)
MERGES = chain("a0: &a0 {x: 1}", "a{n}: &a{n} {{<<: [{before}]}}", 9)


def git(*arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull},
    ).stdout.strip()


def commit(**files: str) -> None:
    write(**files)
    git("add", "-A")
    git("commit", "-qm", "some files")


def write(**files: str) -> None:
    for name, content in files.items():
        path = Path(name.replace("__", "/").replace("_", "."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    git("init", "-qb", "main")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (tmp_path / ".gitignore").write_text("/.dvc/tmp\n/.dvc/cache\n/compare.*\n")
    commit(params_yaml="seed: 0\n", dvc_yaml="stages: {}\n")
    return tmp_path


def _matrix() -> None:
    """A thousand million stages."""
    values = "".join(f"      k{n}: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n" for n in range(9))
    commit(dvc_yaml=f"stages:\n  s:\n    cmd: echo\n    matrix:\n{values}")


def _variables() -> None:
    """A command of ten thousand million letters."""
    command = "${a}" * 100_000
    commit(dvc_yaml=f"vars: [{{a: {'x' * 100_000}}}]\nstages:\n  s:\n    cmd: '{command}'\n")


def _pattern() -> None:
    """That a regular expression tries in as many ways."""
    write(**{"a" * 200: ""})
    commit(_dvcignore="*a" * 14 + "b\n")


def _aliases_in_lists() -> None:
    commit(params_yaml=LISTS)


def _aliases_of_an_experiment() -> None:
    head = git("rev-parse", "HEAD")
    git("checkout", "-q", "--detach")
    _aliases_in_lists()
    git("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/pulled", "HEAD")
    git("checkout", "-q", "main")


def _aliases_in_maps() -> None:
    commit(notes_txt=MERGES, dvc_yaml="stages:\n  s:\n    cmd: x\n    metrics: [notes.txt]\n")


ENDS = r"this repository (takes DVC more than 4 s of a core to read|takes more than .* to hold): a file there"
NEEDS = r"DVC needs more than 512 MiB"
BOMBS = [_matrix, _variables, _pattern, _aliases_of_an_experiment, _aliases_in_maps]


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "CPU_SECONDS", 4)
    monkeypatch.setattr(process, "CPU_SECONDS_PER_EXPERIMENT", 0)
    monkeypatch.setattr(process, "MEMORY_BYTES", 512 << 20)


@pytest.mark.usefixtures("repository", "small_limits")
@pytest.mark.parametrize("hide", BOMBS)
def test_compare(hide: Callable[[], None]) -> None:
    hide()
    with pytest.raises(UserError, match=f"{ENDS}|{NEEDS}"):
        compare_experiments([], Path("compare.html"), Path("compare.md"), None)


@pytest.mark.usefixtures("repository", "small_limits")
def test_compare_by_name() -> None:
    git("checkout", "-qb", "theirs")
    _aliases_in_lists()
    git("checkout", "-q", "main")
    with pytest.raises(UserError, match=r"the repository at theirs takes|needs more than"):
        compare_experiments(["theirs"], Path("compare.html"), Path("compare.md"), None)


@pytest.mark.usefixtures("repository", "small_limits")
@pytest.mark.parametrize("hide", [_matrix, _pattern])
def test_repair(hide: Callable[[], None]) -> None:
    hide()
    write(data__a="a")
    with pytest.raises(UserError, match=f"{ENDS}|{NEEDS}"):
        repair(Path("data"), lambda: True)
    assert Path("data/a").read_text() == "a"


@pytest.mark.usefixtures("repository", "small_limits")
@pytest.mark.parametrize(
    "lock", [LISTS, MERGES, "schema: 2020-13-45", f"schema: {'9' * 5000}", "a: \0", "[" * 5000]
)
def test_repair_with_a_lock_that_dvc_did_not_write(lock: str) -> None:
    write(dvc_yaml="stages:\n  s:\n    cmd: x\n    outs: [data]\n", dvc_lock=lock, data__a="a")
    with pytest.raises(UserError, match=f"data cannot be repaired here|{ENDS}|{NEEDS}"):
        repair(Path("data"), lambda: True)
    assert Path("data/a").read_text() == "a"


@pytest.mark.usefixtures("repository")
def test_an_answer_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MOST_ANSWER_BYTES", 100)
    with pytest.raises(UserError, match=r"this repository takes more than 0 MiB to hold"):
        compare_experiments([], Path("compare.html"), Path("compare.md"), None)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.usefixtures("repository")
def test_no_process_stays_when_the_one_that_asked_is_killed() -> None:
    _matrix()
    call = "from pipeline.cli import app; app(['compare'])"
    with subprocess.Popen([sys.executable, "-c", call]) as asking:
        children = Path(f"/proc/{asking.pid}/task/{asking.pid}/children")
        while not (found := _readers(children)):
            assert asking.poll() is None
            time.sleep(0.05)
        asking.kill()
    for _ in range(600):
        if not any(Path(f"/proc/{child}").exists() for child in found):
            return
        time.sleep(0.1)
    raise AssertionError(f"{found} go on")


def _readers(children: Path) -> list[str]:
    """The processes in which DVC reads, among these."""
    pids = children.read_text().split()
    return [pid for pid in pids if b"dvc_reader" in Path(f"/proc/{pid}/cmdline").read_bytes()]
