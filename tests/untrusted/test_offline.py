"""What DVC reads of strangers makes no command reach another machine, or start a program of theirs."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from listener import Listener
from pipeline.doctor.repair import repair
from pipeline.experiments.compare import compare_experiments
from pipeline.runtime.errors import UserError
from pipeline.untrusted.offline import NoWayOut, offline

MD5 = "3b0332e02daabf31651a5a0d81ba83"


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


def _by_name(port: int) -> None:
    socket.create_connection(("localhost", port), timeout=5).close()


def _by_number(port: int) -> None:
    with socket.socket() as own:
        own.connect(("127.0.0.1", port))


def _by_a_message(port: int) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as own:
        own.sendto(b"hello", ("127.0.0.1", port))


def _by_asyncio(port: int) -> None:
    async def connect() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()

    asyncio.run(connect())


def _in_a_thread(port: int) -> None:
    raised: list[BaseException] = []

    def connect() -> None:
        try:
            _by_number(port)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=connect)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def _by_a_program(port: int) -> None:
    connect = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
    subprocess.run([sys.executable, "-c", connect], check=True)


def _by_the_shell(port: int) -> None:
    subprocess.run(f"exec {sys.executable} --version", shell=True, check=True, stdout=subprocess.DEVNULL)  # noqa: S602


@pytest.mark.parametrize(
    "reach",
    [_by_name, _by_number, _by_a_message, _by_asyncio, _in_a_thread, _by_a_program, _by_the_shell],
)
def test_every_way_out_is_refused_and_open_again(reach: Callable[[int], None], listener: Listener) -> None:
    reach(listener.port)
    with offline():
        with offline(), pytest.raises(NoWayOut):
            reach(listener.port)
        with pytest.raises(NoWayOut):
            reach(listener.port)
    reach(listener.port)


def test_what_stays_on_this_machine_goes_on(tmp_path: Path) -> None:
    with offline():
        one, other = socket.socketpair()
        with one, other:
            one.sendall(b"within")
            assert other.recv(6) == b"within"
        asyncio.run(asyncio.sleep(0))
        subprocess.run(["git", "--version"], check=True, stdout=subprocess.DEVNULL)


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


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_dvc_itself_would_fetch(project: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.experiments.compare.offline", nullcontext)
    _compare("theirs")
    assert listener.requested


def test_compare_asks_no_address_of_a_branch(project: Path, listener: Listener) -> None:
    _compare("theirs", "main")
    _compare()
    git("checkout", "-q", "main")
    shutil.rmtree(project / ".dvc/tmp")  # where DVC keeps what it read before
    _compare("theirs")
    assert not listener.requested


def test_mend_asks_no_address(project: Path, listener: Listener) -> None:
    for named in ("folder", "data/images", "data/metrics.json", "imported.yaml"):
        with suppress(UserError):
            repair(Path(named), lambda: True)
    assert not listener.requested
