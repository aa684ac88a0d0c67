"""DVC, where `compare` and `repair` have it read a stranger's repository, changes nothing outside of .dvc."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.doctor.repair import repair
from pipeline.experiments.compare import compare_experiments
from pipeline.runtime.errors import UserError

pytestmark = pytest.mark.slow

CHANGES = {
    "write": "open({path!r}, 'w')",
    "append": "open({path!r}, 'ab')",
    "create": "open({path!r} + '2', 'x')",
    "descriptor": "os.open({path!r}, os.O_RDWR)",
    "remove": "os.remove({path!r})",
    "remove by descriptor": "os.remove('file', dir_fd=os.open({folder!r}, os.O_RDONLY))",
    "a folder": "os.mkdir({path!r} + '2')",
    "folders": "os.makedirs({path!r} + '2/3', exist_ok=True)",
    "no folder": "os.rmdir({folder!r} + '/empty')",
    "move away": "os.rename({path!r}, {inside!r} + '/a')",
    "move here": "os.replace({inside!r} + '/own', {path!r})",
    "link": "os.symlink('a', {path!r} + '2')",
    "hard link": "os.link({path!r}, {inside!r} + '/hard')",
    "truncate": "os.truncate({path!r}, 0)",
    "mode": "os.chmod({path!r}, 0o777)",
    "time": "os.utime({path!r})",
    "database": "import sqlite3; sqlite3.connect({path!r} + '2')",
    "a folder's files": "import shutil; shutil.rmtree({folder!r})",
    "through a link": "open({inside!r} + '/leads', 'w')",
    "through a linked folder": "open({inside!r} + '/folder/file', 'w')",
}
CONFINED = """
import os
from pipeline.untrusted.dvc.confinement import Confinement
confinement = Confinement([{inside!r}])
confinement.enter()
{change}
"""
INSIDE = """
import shutil, sqlite3, tempfile
tempfile.tempdir = {inside!r}
with tempfile.TemporaryDirectory() as folder:
    os.makedirs(folder + "/a/b")
    open(folder + "/a/file", "w").close()
    os.rename(folder + "/a/file", folder + "/a/b/other")
    sqlite3.connect(folder + "/base").close()
    sqlite3.connect(":memory:").close()
os.remove({inside!r} + "/leads")
os.makedirs({outside!r}, exist_ok=True)
open({outside!r} + "/file").read()
open("/dev/null", "w").close()
assert not confinement.refused
"""


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    (outside / "empty").mkdir(parents=True)
    inside.mkdir()
    for file in (outside / "file", inside / "own"):
        file.write_text("my diary")
        file.chmod(0o644)
        os.utime(file, (1, 1))
    (inside / "leads").symlink_to(outside / "file")
    (inside / "folder").symlink_to(outside)
    return {"folder": str(outside), "path": str(outside / "file"), "inside": str(inside)}


def state(folder: Path) -> list[tuple[str, int, float, bytes]]:
    """All that is below it."""
    files = [(path, path.lstat()) for path in sorted(folder.rglob("*"))]
    return [
        (str(path), found.st_mode, found.st_mtime, path.read_bytes())
        if path.is_file()
        else (str(path), found.st_mode, 0.0, b"")
        for path, found in files
    ]


def python(script: str) -> str:
    """What it says at its end; empty where it succeeds."""
    command = [sys.executable, "-W", "ignore", "-c", script]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.stderr if ended.returncode else ""


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_elsewhere(change: str, folders: dict[str, str]) -> None:
    before = state(Path(folders["folder"]))
    script = CONFINED.format(change=CHANGES[change], **folders).format(**folders)
    assert "which is not below .dvc here: remove what leads there" in python(script)
    assert state(Path(folders["folder"])) == before


def test_changes_inside(folders: dict[str, str]) -> None:
    script = CONFINED.format(change=INSIDE, **folders)
    assert python(script.format(inside=folders["inside"], outside=folders["folder"])) == ""


# --- in a repository ----------------------------------------------------------------------------------------


PIPELINE = """
stages:
  s:
    cmd: echo
    outs: [data]
    metrics: [m.json: {cache: false}]
"""
LINKS = {
    ".dvc/tmp/lock": "../../../outside/diary",
    ".dvc/tmp/btime": "../../../outside/made",
    ".dvc/tmp/exps": "../../../outside",
    ".dvc/tmp/exps/celery": "../../../../outside",
    ".dvc/tmp": "../../outside",
    ".dvc/.gitignore": "../../outside/diary",
}
REFUSED = "DVC would change .*/outside.*, which is not below .dvc here"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the output `data`; beside it lies `outside`."""
    root = tmp_path / "repository"
    (root / ".dvc").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/diary").write_text("my diary")
    monkeypatch.chdir(root)
    (root / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "data").write_text("good")
    (root / "m.json").write_text('{"chosen": {"method": "x", "top1": 0.5}}')
    for command in ("git init -qb main", "dvc commit -q -f", "git add -A", "git commit -qm one"):
        run(command)
    return root


def run(command: str) -> None:
    names = {f"GIT_{role}_{what}": "t" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    program, *arguments = command.split()
    prefix = [sys.executable, "-m"] if program == "dvc" else []
    environment = os.environ | names | {"GIT_CONFIG_GLOBAL": os.devnull, "DVC_NO_ANALYTICS": "1"}
    subprocess.run([*prefix, program, *arguments], check=True, capture_output=True, env=environment)


def compare() -> None:
    compare_experiments([], Path("compare.html"), Path("compare.md"), None)


@pytest.mark.parametrize("link", LINKS)
def test_links_below_dvc(repository: Path, link: str) -> None:
    place = repository / link
    if link == ".dvc/tmp":
        shutil.rmtree(place)
    elif os.path.lexists(place):
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(LINKS[link])
    (repository / "data").write_text("damaged")
    before = state(repository.parent / "outside")
    said = sentence_of(compare) + sentence_of(lambda: repair(Path("data"), lambda: True))
    # Git refuses a .gitignore that is a link.
    assert re.search("can.* be re" if link.endswith("ignore") else REFUSED, said)
    assert state(repository.parent / "outside") == before


def sentence_of(command: Callable[[], None]) -> str:
    try:
        command()
    except UserError as error:
        return str(error)
    return ""


def test_dvc_elsewhere(repository: Path) -> None:
    (repository / ".dvc").rename(repository.parent / "outside/dvc")
    (repository / ".dvc").symlink_to("../outside/dvc")
    before = state(repository.parent / "outside")
    with pytest.raises(UserError, match=REFUSED):
        repair(Path("data"), lambda: True)
    assert state(repository.parent / "outside") == before


def test_a_place_of_its_notes_that_the_configuration_names(repository: Path) -> None:
    config = repository / ".dvc/config"
    config.write_text(f"[core]\n    site_cache_dir = {repository.parent}/outside\n")
    (repository / "data").write_text("damaged")
    before = state(repository.parent / "outside")
    compare()
    repair(Path("data"), lambda: True)
    assert not (repository / "data").exists()
    assert state(repository.parent / "outside") == before


def test_a_cache_elsewhere_is_read(repository: Path) -> None:
    """It is shared by several clones."""
    shutil.move(repository / ".dvc/cache", repository.parent / "outside/cache")
    (repository / ".dvc/config").write_text(f"[cache]\n    dir = {repository.parent}/outside/cache\n")
    (repository / "data").unlink()
    (repository / "data").write_text("damaged")
    before = state(repository.parent / "outside")
    compare()
    repair(Path("data"), lambda: True)
    assert not (repository / "data").exists()
    assert state(repository.parent / "outside") == before
