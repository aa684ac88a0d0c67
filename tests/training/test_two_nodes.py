"""Two machines, as two network namespaces joined by a virtual cable, train as one process does."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from pipeline.clustering.run import cluster
from pipeline.ingest.run import ingest
from pipeline.schema import Layout
from support import TINY_PRETRAIN, params_with

NODES = {"clinfonce-a": ("cable-a", "10.203.7.1"), "clinfonce-b": ("cable-b", "10.203.7.2")}
PARAMS = TINY_PRETRAIN | {"batch_size": 8, "epochs": 2, "learning_rate": 0.01, "stem_stride": 1}
PARAMS["optimizer"] = "sgd"
TRAIN = """
import json, sys
from pathlib import Path
from pipeline.schema import Layout
from pipeline.training.params import PretrainParams
from pipeline.training.run import pretrain
pretrain(PretrainParams.model_validate(json.loads(sys.argv[2])), "chosen", 12, 0, Layout(Path(sys.argv[1])))
"""


def ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True)


@pytest.fixture
def nodes() -> Iterator[None]:
    if shutil.which("ip") is None:
        pytest.skip("iproute2 is not installed")
    try:
        for node in NODES:
            ip("netns", "add", node)
        (first, second) = (interface for interface, _ in NODES.values())
        ip("link", "add", first, "type", "veth", "peer", "name", second)
        for node, (interface, address) in NODES.items():
            ip("link", "set", interface, "netns", node)
            ip("-n", node, "addr", "add", f"{address}/24", "dev", interface)
            for name in ("lo", interface):
                ip("-n", node, "link", "set", name, "up")
    except subprocess.CalledProcessError as error:
        for node in NODES:
            ip("netns", "del", node, check=False)
        pytest.skip(f"no right to make network namespaces: {error.stderr.decode().strip()}")
    yield
    for node in NODES:
        ip("netns", "del", node, check=False)


def test_two_nodes_train_as_one(nodes: None, manifest: Callable[..., Path], tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    ingest(params_with(ingest={"source": "manifest", "path": str(manifest(24))}).ingest, 0, layout)
    cluster(params_with(cluster={"method": "label"}).cluster, "chosen", 16, 0, layout)
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    environment = os.environ | {"CLINFONCE_STATE_DIR": str(tmp_path / "states"), "CLINFONCE_DEVICE": "cpu"}
    arguments = [str(script), str(tmp_path), json.dumps(PARAMS)]

    subprocess.run([sys.executable, *arguments], env=environment, check=True, capture_output=True)
    alone = pd.read_csv(layout.encoder("chosen") / "history.csv")
    shutil.rmtree(layout.encoder("chosen"))

    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    torchrun += ["--master-addr", NODES["clinfonce-a"][1], "--master-port", "29471"]
    processes = [
        subprocess.Popen(
            ["ip", "netns", "exec", node, *torchrun, "--node-rank", str(rank), *arguments],
            env=environment | {"GLOO_SOCKET_IFNAME": interface, "TP_SOCKET_IFNAME": interface},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, (node, (interface, _)) in enumerate(NODES.items())
    ]
    said = [process.communicate(timeout=150)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    together = pd.read_csv(layout.encoder("chosen") / "history.csv")
    assert together["loss"].tolist() == pytest.approx(alone["loss"].tolist(), rel=1e-3)
