"""A Ray cluster of two hosts with addresses of their own: the same bytes, also when one of them dies."""

import csv
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from drawn_encoders import write_drawn_encoder
from hosts import Host, two_hosts
from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.pixels import load_pixels
from pipeline.evaluation.features import features_of, load_encoder
from pipeline.executors.select import ExecutorName, open_executor
from pipeline.runtime.errors import UserError
from pipeline.storage.files import read_json
from pipeline.storage.schema import Layout
from support import REPOSITORY, at_once, png

pytestmark = [pytest.mark.ray, pytest.mark.slow]

pytest.importorskip("ray", reason="Ray is not installed")

TOKEN = "known to all nodes, and longer than thirty characters"  # noqa: S105
CPU = torch.device("cpu")
ROWS, A_PART = 160, 8
SCRIPT = f"""
import json, sys
from pathlib import Path
from pipeline.runtime.console import terminal
from pipeline.executors.select import ExecutorName
from pipeline.runtime.errors import exit_on_user_error
from pipeline.ingest import chunks as parts
from pipeline.ingest import parallel as workers
from pipeline.config.ingest import IngestParams
from pipeline.ingest.run import ingest
from pipeline.evaluation.features import features_of, load_encoder
from pipeline.storage.files import read_json
from pipeline.storage.schema import Layout
from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.pixels import load_pixels

parts.ROWS_PER_CHUNK = {A_PART}

def ingest_with(executor, manifest, data):
    params = {{"source": "manifest", "path": manifest, "image_size": 64, "max_reject_fraction": 0.5}}
    ingest(IngestParams.model_validate(params), 0, Layout(Path(data)), executor)

def embed_with(executor, data, encoder, output):
    from pipeline.inference import chunks as vectors
    from pipeline.inference.embed import embed
    from pipeline.inference.embedder import Request
    vectors.IMAGES_PER_CHUNK = 64
    request = Request(Path(data) / "images", None, None, Path(encoder), 16)
    embed(request, Path(output) / "vectors.parquet", terminal(stderr=True), executor)

def address_of_node(number, path):
    import ray, time
    time.sleep(0.2)
    path.write_text(ray.util.get_node_ip_address())

def addresses(executor, output):
    from pipeline.executors.base import Job, ordered_results
    from pipeline.executors.select import open_executor
    jobs = [Job(address_of_node, (n,), Path(f"address-{{n}}.txt")) for n in range(12)]
    with open_executor(executor) as opened:
        made = ordered_results(((job, False) for job in jobs), opened)
        found = {{path.read_text() for path, _ in made}}
    Path(output).write_text(json.dumps(sorted(found)))

if __name__ == "__main__":
    name, executor, *arguments = sys.argv[1:]
    with exit_on_user_error():
        globals()[name](ExecutorName(executor), *arguments)
"""  # noqa: S608


@dataclass(frozen=True)
class Cluster:
    hosts: tuple[Host, Host]
    folder: Path
    scratch: str
    environment: dict[str, str]
    port: int = 6391

    def start(self, host: Host, *, head: bool) -> None:
        where = ["--head", f"--port={self.port}", "--include-dashboard=false"]
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--num-cpus=1", "--disable-usage-stats"),
            *(where if head else [f"--address={self.hosts[0].address}:{self.port}"]),
            f"--node-ip-address={host.address}",
            "--object-store-memory=100000000",
            # Sockets must have short names: pytest's folders are too deep.
            f"--temp-dir={self.scratch}/{host.name}",
        ]
        subprocess.run(host.command(*command), env=self.environment, check=True, capture_output=True)

    def begin(self, name: str, *arguments: object) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.hosts[0].command(
                sys.executable, str(self.folder / "run.py"), name, "ray", *map(str, arguments)
            ),
            env=self.environment,
            cwd=self.folder,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, name: str, *arguments: object) -> str:
        process = self.begin(name, *arguments)
        _, said = process.communicate(timeout=150)
        assert process.returncode == 0, said
        return said


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("ray")
    (folder / "run.py").write_text(SCRIPT)
    (folder / "pictures").mkdir()
    with (folder / "pictures" / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label"])
        for number in range(ROWS):
            content = b"no image" if number % 50 == 7 else png(number % 150, 90, 90)
            (folder / "pictures" / f"{number:03d}.png").write_bytes(content)
            writer.writerow([f"{number:03d}.png", str(number % 3)])
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        # A dead host is found dead after six seconds instead of thirty.
        "RAY_health_check_initial_delay_ms": "1000",
        "RAY_health_check_period_ms": "1000",
        "CLINFONCE_STATE_DIR": str(folder / "state"),
        "CLINFONCE_WORKERS": "1",
        "CLINFONCE_DEVICE": "cpu",
        "OMP_NUM_THREADS": "1",
    }
    with (
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as scratch,
        two_hosts("ray", "10.203.9") as hosts,
    ):
        built = Cluster(hosts, folder, scratch, environment)
        for host in hosts:
            built.start(host, head=host is hosts[0])
        yield built


@pytest.fixture(scope="module")
def alone(cluster: Cluster) -> Path:
    """What the local executor makes of the same pictures."""
    command = [sys.executable, str(cluster.folder / "run.py"), "ingest_with", "local"]
    command += ["pictures/manifest.csv", "alone"]
    subprocess.run(command, env=cluster.environment, cwd=cluster.folder, check=True)
    return cluster.folder / "alone"


def bytes_of(data: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((data / "images").iterdir())}


def test_two_hosts_give_the_bytes_of_one(cluster: Cluster, alone: Path) -> None:
    cluster.run("addresses", cluster.folder / "addresses.json")
    assert read_json(cluster.folder / "addresses.json") == [host.address for host in cluster.hosts]
    cluster.run("ingest_with", "pictures/manifest.csv", "together")
    assert bytes_of(cluster.folder / "together") == bytes_of(alone)


def test_the_embeddings_of_two_hosts_are_those_of_one(cluster: Cluster, alone: Path) -> None:
    encoder = write_drawn_encoder(Layout(cluster.folder / "drawn"))
    cluster.run("embed_with", "alone", encoder, cluster.folder)
    trained = load_encoder(encoder, CPU)
    expected: dict[str, np.ndarray] = {}
    for split in ("train", "test"):
        store = load_pixels(ImageSplit(alone / "images", split))
        expected |= zip(store.ids, features_of(trained, store, CPU).numpy(), strict=True)
    table = pq.read_table(cluster.folder / "vectors.parquet")
    found = dict(zip(table.column("id").to_pylist(), table.column("vector").to_pylist(), strict=True))
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(
        np.array([found[name] for name in expected]), np.array(list(expected.values())), rtol=1e-5, atol=1e-5
    )


def test_what_ray_says_of_a_cluster_that_does_not_answer_becomes_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("Failed to connect to Ray cluster at 10.1.1.1:6379.\nMore.")

    monkeypatch.setattr("ray.init", refuse)
    monkeypatch.setattr("pipeline.executors.ray_cluster._knock_at", lambda _: None)
    monkeypatch.setenv("RAY_ADDRESS", "10.1.1.1:6379")
    with (
        pytest.raises(UserError, match=r"10.1.1.1:6379 \(Failed .* 10.1.1.1:6379\): .* need the same token$"),
        open_executor(ExecutorName.RAY),
    ):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "127.0.0.1:99999"])
def test_an_address_where_nobody_listens_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("RAY_ADDRESS", address.format(taken.getsockname()[1]))
        with (
            at_once(30),
            pytest.raises(UserError, match="no Ray cluster answers at RAY_ADDRESS="),
            open_executor(ExecutorName.RAY),
        ):
            pass


@pytest.mark.parametrize("blank", [" ", "\n", "\t", "\r\n", "\u00a0"])
def test_blanks_around_an_address_are_none_of_it(monkeypatch: pytest.MonkeyPatch, blank: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAY_ADDRESS", f"{blank}127.0.0.1:{taken.getsockname()[1]}{blank}")
        with (
            at_once(30),
            pytest.raises(UserError, match=r"at RAY_ADDRESS=127.0.0.1:\d+ \(.*refused"),
            open_executor(ExecutorName.RAY),
        ):
            pass


@pytest.mark.parametrize(
    "address",
    [
        *("local", "local2", "127.0.0.1", ":6379", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:-1", "a b:1"),
        *("os://x", "://", "ray://", "ray://ray://127.0.0.1:1", "http://127.0.0.1:1", "127.0.0.1:1/x"),
        *("127.0.0.1:1 2", "127.0.0.1 :1", "127.0.0.1:\u0661", "\u00e9:1", "\x1b[31m:1", "127.0.0.1:123456"),
        *("127.0.0.1:" + "1" * 5000, "x" * 5000, "[::1:1", "::1:1", "[]:1", "a@b:1", "a,b:1"),
    ],
)
def test_what_is_no_address_never_reaches_ray(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr("ray.init", lambda *_, **__: pytest.fail("it was asked"))
    monkeypatch.setenv("RAY_ADDRESS", address)
    with (
        at_once(30),
        pytest.raises(UserError, match=r"^RAY_ADDRESS=.* names no Ray cluster: set it to host:port"),
        open_executor(ExecutorName.RAY),
    ):
        pass


@pytest.mark.parametrize("address", ["", " ", "\n", "auto", " auto\n", None])
def test_without_an_address_it_is_the_cluster_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    asked: list[tuple[str, str]] = []

    def refuse(named: str, **_: object) -> None:
        asked.append((named, os.environ["RAY_ADDRESS"]))
        raise ConnectionError("none")

    monkeypatch.setattr("ray.init", refuse)
    monkeypatch.setenv("RAY_ADDRESS", address or "")
    if address is None:
        monkeypatch.delenv("RAY_ADDRESS")
    with pytest.raises(UserError, match="no Ray cluster answers"), open_executor(ExecutorName.RAY):
        pass
    assert asked == [("auto", "auto")]


OF_ANOTHER_SERVER = """
import socket, sys, threading
from pipeline.executors import ray_cluster
from pipeline.executors.select import ExecutorName, open_executor
from pipeline.runtime.errors import exit_on_user_error

ray_cluster.INIT_SECONDS = 3
server, taken = socket.create_server(("127.0.0.1", 0)), []

def serve():
    while True:
        taken.append(server.accept()[0])
        taken[-1].sendall(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))

threading.Thread(target=serve, daemon=True).start()
import os
os.environ["RAY_ADDRESS"] = sys.argv[1] + f"127.0.0.1:{server.getsockname()[1]}"
with exit_on_user_error(), open_executor(ExecutorName.RAY):
    pass
"""


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_server_of_http2_that_is_not_ray_is_not_waited_for(tmp_path: Path, scheme: str) -> None:
    """It says its settings and nothing more. In a process of its own: the thread that waits for it stays."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", OF_ANOTHER_SERVER, scheme],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "SIGTERM" not in done.stderr
    assert "(no answer within 3 s): start one with `uv run ray start --head`" in done.stderr


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0"])
def test_what_listens_and_is_not_ray_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    """One that says nothing, a web server, and one that falls silent within a frame."""
    monkeypatch.setattr("pipeline.executors.ray_cluster.CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as other, ThreadPoolExecutor(1) as beside:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{other.getsockname()[1]}")
        accepted = beside.submit(other.accept)
        beside.submit(lambda: accepted.result()[0].sendall(answer))
        with (
            at_once(30),
            pytest.raises(UserError, match="no Ray cluster answers at RAY_ADDRESS="),
            open_executor(ExecutorName.RAY),
        ):
            pass
        accepted.result()[0].close()


def test_a_node_that_would_make_other_bytes_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.executors.ray_cluster import Here, check_node, versions

    monkeypatch.chdir(tmp_path)
    check_node(Here(str(tmp_path), versions()), "10.0.0.2")
    with pytest.raises(UserError, match=r"node 10.0.0.2 has no folder .*/elsewhere: nodes need the project"):
        check_node(Here(str(tmp_path / "elsewhere"), versions()), "10.0.0.2")
    other = versions() | {"pillow": "1.0"}
    with pytest.raises(
        UserError, match=r"node 10.0.0.2 has pillow .*, and this one 1.0: run `uv sync` on all"
    ):
        check_node(Here(str(tmp_path), other), "10.0.0.2")


def test_a_host_that_dies_in_the_middle_changes_nothing(cluster: Cluster, alone: Path) -> None:
    process = cluster.begin("ingest_with", "pictures/manifest.csv", "survived")
    deadline = time.monotonic() + 120
    while len(list(cluster.folder.glob("state/*/*.arrow"))) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    cluster.hosts[1].kill()
    _, said = process.communicate(timeout=150)
    assert process.returncode == 0, said
    assert bytes_of(cluster.folder / "survived") == bytes_of(alone)
