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

from hosts import Host, two_hosts
from pipeline.clustering.run import cluster
from pipeline.config.pretrain import PretrainParams
from pipeline.ingest.run import ingest
from pipeline.storage.schema import Layout
from pipeline.training import run as training
from processes import started
from support import TINY_PRETRAIN, params_with

pytestmark = pytest.mark.slow

PARAMS = TINY_PRETRAIN | {"batch_size": 8, "epochs": 2, "learning_rate": 0.01, "stem_stride": 1}
PARAMS["optimizer"] = "sgd"
TRAIN = """
import json, sys
from pathlib import Path
from pipeline.storage.schema import Layout
from pipeline.config.pretrain import PretrainParams
from pipeline.training.run import pretrain
pretrain(PretrainParams.model_validate(json.loads(sys.argv[2])), "chosen", 12, 0, Layout(Path(sys.argv[1])))
"""


def alone_with(folder: str, params: str, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    training.pretrain(
        PretrainParams.model_validate(json.loads(params)), "chosen", 12, 0, Layout(Path(folder))
    )


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    with two_hosts("train", "10.203.7") as both:
        yield both


def test_two_nodes_train_as_one(
    hosts: tuple[Host, Host], manifest: Callable[..., Path], tmp_path: Path
) -> None:
    layout = Layout(tmp_path)
    ingest(params_with(ingest={"source": "manifest", "path": str(manifest(24))}).ingest, 0, layout)
    cluster(params_with(cluster={"method": "label"}).cluster, "chosen", 16, 0, layout)
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    environment = os.environ | {"CLINFONCE_STATE_DIR": str(tmp_path / "states"), "CLINFONCE_DEVICE": "cpu"}
    arguments = [str(script), str(tmp_path), json.dumps(PARAMS)]

    by_itself = started(alone_with, str(tmp_path), json.dumps(PARAMS), environment)
    by_itself.join(150)
    assert by_itself.exitcode == 0
    alone = pd.read_csv(layout.encoder("chosen") / "history.csv")
    shutil.rmtree(layout.encoder("chosen"))

    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    torchrun += ["--master-addr", hosts[0].address, "--master-port", "29471"]
    processes = [
        subprocess.Popen(
            host.command(*torchrun, "--node-rank", str(rank), *arguments),
            env=environment | {f"{kind}_SOCKET_IFNAME": host.interface for kind in ("GLOO", "TP")},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, host in enumerate(hosts)
    ]
    said = [process.communicate(timeout=150)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    together = pd.read_csv(layout.encoder("chosen") / "history.csv")
    assert together["loss"].tolist() == pytest.approx(alone["loss"].tolist(), rel=1e-3)
