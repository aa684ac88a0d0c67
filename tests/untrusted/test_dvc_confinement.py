"""What DVC reads of strangers makes no command reach another machine, or start a program of theirs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from listener import Listener
from pipeline.doctor.repair import repair
from pipeline.experiments.compare import compare_experiments
from pipeline.runtime.errors import UserError

pytestmark = pytest.mark.slow

MD5 = "3b0332e02daabf31651a5a0d81ba83"


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


CONFINED = """
from pipeline.untrusted.dvc.confinement import Confinement
confinement = Confinement([{folder!r}])
confinement.enter()
"""
NOWHERE = CONFINED.format(folder="/nonexistent")
WAYS_OUT = {
    "a name": "import socket; socket.create_connection(('localhost', {port}), timeout=5)",
    "a number": "import socket; socket.socket().connect(('127.0.0.1', {port}))",
    "a message": "import socket as s; s.socket(type=s.SOCK_DGRAM).sendto(b'hello', ('127.0.0.1', {port}))",
    "asyncio": "import asyncio; asyncio.run(asyncio.open_connection('127.0.0.1', {port}))",
    "a thread": "import concurrent.futures as c, socket\n"
    "c.ThreadPoolExecutor().submit(lambda: socket.socket().connect(('127.0.0.1', {port}))).result()",
    "a program": "import subprocess; subprocess.run(['{python}', '--version'], check=True)",
    "the shell": "import subprocess; subprocess.run('exec {python} --version', shell=True, check=True)",
    "another shell": "import os; assert not os.system('{python} -c pass # /git')",
    "a pickle": "import pickle; pickle.loads(pickle.dumps(print))",
    "a replacement": "import os; os.execv('{python}', ['{python}', '--version'])",
}
LOCAL = """
import asyncio, socket, subprocess
one, other = socket.socketpair()
one.sendall(b"within")
assert other.recv(6) == b"within"
asyncio.run(asyncio.sleep(0))
subprocess.run(["git", "--version"], check=True, stdout=subprocess.DEVNULL)
"""


def python(script: str) -> str:
    """What it says at its end; empty where it succeeds."""
    command = [sys.executable, "-W", "ignore", "-c", script]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.stderr if ended.returncode else ""


@pytest.mark.parametrize("way", WAYS_OUT)
def test_every_way_out_is_refused(way: str, listener: Listener) -> None:
    script = WAYS_OUT[way].format(port=listener.port, python=sys.executable)
    assert python(script) == ""
    asked = listener.requested
    assert "NoWayOut: no " in python(NOWHERE + script)
    assert listener.requested == asked


def test_what_stays_on_this_machine_goes_on() -> None:
    assert python(NOWHERE + LOCAL) == ""


REMOTE = """
[core]
    analytics = false
    remote = r
['remote "r"']
    url = {address}
"""
PIPELINE = """
stages:
  report:
    cmd: python report.py
    outs: [data/images]
    metrics: [data/metrics.json]
metrics: [folder/metrics.json]
params: [imported.yaml]
"""
LOCK = f"""
schema: '2.0'
stages:
  report:
    cmd: python report.py
    outs:
    - {{path: data/images, hash: md5, md5: {MD5}0a.dir, size: 30, nfiles: 1}}
    - {{path: data/metrics.json, hash: md5, md5: {MD5}1a, size: 30}}
"""
FOLDER = f"outs: [{{path: folder, hash: md5, md5: {MD5}2a.dir, size: 30, nfiles: 1}}]\n"
IMPORTED = f"""
frozen: true
deps: [{{path: params.yaml, repo: {{url: 'ADDRESS', rev_lock: {MD5}3a{MD5[:8]}}}}}]
outs: [{{path: imported.yaml, hash: md5, md5: {MD5}4a, size: 30}}]
"""
ADDRESSES = ["http://127.0.0.1:{port}/x", "git://127.0.0.1:{port}/x.git", "http://localhost:{port}/x.git"]


def git(*arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments],
        check=True, capture_output=True, env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull},
    )  # fmt: skip


@pytest.fixture(params=ADDRESSES)
def address(request: Any, listener: Listener) -> str:
    return str(request.param).format(port=listener.port)


@pytest.fixture
def project(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """On the branch `theirs`, which is checked out, all that DVC could fetch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    git("init", "-qb", "main")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (tmp_path / ".gitignore").write_text("/.dvc/tmp\n/.dvc/cache\n/compare.*\n")
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    git("add", "-A")
    git("commit", "-qm", "ours")
    git("checkout", "-qb", "theirs")
    if address.startswith("http:"):  # which DVC takes for a remote without further packages
        (tmp_path / ".dvc/config").write_text(REMOTE.format(address=address))
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "dvc.lock").write_text(LOCK)
    (tmp_path / "folder.dvc").write_text(FOLDER)
    (tmp_path / "imported.yaml.dvc").write_text(IMPORTED.replace("ADDRESS", address))
    git("add", "-A")
    git("commit", "-qm", "theirs")
    return tmp_path


def _compare(*names: str) -> None:
    compare_experiments(names, Path("compare.html"), Path("compare.md"), None)


def test_dvc_itself_would_fetch(project: Path, listener: Listener) -> None:
    assert python("import dvc.api; dvc.api.exp_show(revs='theirs')") == ""
    assert listener.requested


def test_compare_asks_no_address_of_a_branch(project: Path, listener: Listener) -> None:
    _compare("theirs", "main")
    _compare()
    git("checkout", "-q", "main")
    shutil.rmtree(project / ".dvc/tmp")  # where DVC keeps what it read before
    _compare("theirs")
    assert not listener.requested


def test_repair_asks_no_address(project: Path, listener: Listener) -> None:
    for named in ("folder", "data/images", "data/metrics.json", "imported.yaml"):
        with suppress(UserError):
            repair(Path(named), lambda: True)
    assert not listener.requested
