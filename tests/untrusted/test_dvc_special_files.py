"""A pipe or device in a stranger's repository neither hangs `compare` and `repair` nor takes the memory."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.doctor.repair import repair
from pipeline.experiments.compare import compare_experiments
from pipeline.runtime.errors import UserError
from pipeline.untrusted.dvc import process

pytestmark = pytest.mark.slow

REFUSED = "is, or leads to, a pipe, socket or device: put a regular file in its place|is not below .dvc here"
READING = """
import os
from pipeline.untrusted.dvc.confinement import Confinement
confinement = Confinement(["/nonexistent"])
confinement.enter()
try:
    {opening}
except PermissionError as error:
    assert "pipe, socket or device" in str(error)
assert bool(confinement.refused) is {refused}
"""


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _link_to_a_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "d").mkdir()
    for name, text in {
        ".dvc/config": "[core]\n    analytics = false\n",
        ".gitignore": "/.dvc/tmp\n/.dvc/cache\n/compare.*\n",
        ".dvcignore": "*.txt\n",
        "params.yaml": "seed: 0\n",
        "dvc.yaml": "stages:\n  s:\n    cmd: echo\n    params: [seed]\n    metrics: [m.json]\n",
        "m.json": '{"chosen": {"method": "x", "top1": 0.5}}',
    }.items():
        (tmp_path / name).write_text(text)
    names = {f"GIT_{role}_{what}": "t" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for command in ("git init -qb main", "git add -A", "git commit -qm one"):
        environment = os.environ | names | {"GIT_CONFIG_GLOBAL": os.devnull}
        subprocess.run(command.split(), check=True, env=environment)
    return tmp_path


PLACES = [
    *("m.json", "params.yaml", ".dvcignore", "d/.dvcignore"),
    *(".dvc/config", ".dvc/config.local", ".dvc/tmp/lock", ".dvc/tmp/btime"),
]
"""At its dvc.yaml, dvc.lock and `.dvc` files DVC looks itself."""
KINDS = [*((_device, place) for place in PLACES), (_pipe, "m.json"), (_link_to_a_pipe, "m.json")]


@pytest.mark.parametrize(("make", "place"), KINDS)
def test_in_place_of_a_file(
    repository: Path, place: str, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "WALL_SECONDS", 90)
    path = repository / place
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    make(path)
    assert re.search(REFUSED, _sentence_of(_compare) + _sentence_of(_repair))


def _sentence_of(command: Callable[[], None]) -> str:
    try:
        command()
    except UserError as error:
        return str(error)
    return ""


def _compare() -> None:
    compare_experiments([], Path("compare.html"), Path("compare.md"), None)


def _repair() -> None:
    repair(Path("m.json"), lambda: True)


def test_of_a_branch(repository: Path) -> None:
    """Git keeps links, and DVC does not follow them out of a commit."""
    for name in ("m.json", "params.yaml", ".dvcignore"):
        (repository / name).unlink()
        (repository / name).symlink_to("/dev/zero")
    names = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "checkout", "-qb", "theirs"], check=True)
    subprocess.run(["git", *names, "commit", "-qam", "theirs"], check=True)
    subprocess.run(["git", "checkout", "-q", "main"], check=True)
    compare_experiments(["main", "theirs"], Path("compare.html"), Path("compare.md"), None)
    assert "50.0" in Path("compare.md").read_text()


@pytest.mark.parametrize(
    "opening", ["open({path!r})", "open({path!r}, 'rb')", "os.open({path!r}, os.O_RDONLY)"]
)
def test_every_opening_is_looked_at(opening: str, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("pipe", "device", "socket", "file")]
    _pipe(paths[0])
    _device(paths[1])
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(paths[2]))
        paths[3].write_text("text")
        for path in (
            *paths,
            Path("/dev/null"),
            Path("/dev/urandom"),
            Path("/dev/tty"),
            Path("/proc/self/stat"),
        ):
            refused = path in paths[:3] or path.name == "tty"
            script = READING.format(opening=opening.format(path=str(path)), refused=refused)
            subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=60)
