"""Training in two processes against one with the same global batch, through every sampler."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config.pretrain import PretrainParams
from pipeline.runtime.distributed import Ranks
from pipeline.runtime.errors import UserError
from pipeline.storage.schema import Layout
from pipeline.training.step import batch_sizes
from processes import in_ranks
from support import TINY_PRETRAIN
from training.ranks import assert_equal_weights, train_each

pytestmark = pytest.mark.slow

WAYS: dict[str, dict[str, Any]] = {
    "shuffle": {},
    "cluster": {"sampler": "cluster"},
    "pairs": {"form": "pair"},
    "in parts": {"micro_batch": 4},
    "re-clustered": {"recluster_every": 1, "epochs": 2},
}


@pytest.fixture
def layout(clustered: Callable[..., Layout]) -> Layout:
    return clustered(24, method="kmeans", kmeans={"clusters": 4, "min_points": 1})


def choices(way: str) -> PretrainParams:
    # Plain SGD: AdamW divides by what is nearly zero at first, and would blow up rounding.
    plain = {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.0, "epochs": 1, "recluster_every": 0}
    return PretrainParams.model_validate(TINY_PRETRAIN | {"batch_size": 8} | plain | WAYS[way])


def test_two_processes_train_as_one(layout: Layout, tmp_path: Path) -> None:
    ways = {way: choices(way) for way in WAYS}
    together, _ = in_ranks(2, tmp_path / "ranks", train_each, layout, ways, 12)
    alone = train_each(Ranks(), layout, ways, 12)
    assert_equal_weights(together, alone)
    assert not torch.equal(alone["shuffle"]["trunk.1.weight"], alone["cluster"]["trunk.1.weight"])
    assert not torch.equal(alone["shuffle"]["trunk.1.weight"], alone["pairs"]["trunk.1.weight"])


def test_what_ranks_cannot_share_is_refused() -> None:
    params = PretrainParams(batch_size=9)
    with pytest.raises(UserError, match=r"pretrain.batch_size=9 can't be shared evenly by 2 processes"):
        batch_sizes(params, 100, Ranks(0, 2))
    with pytest.raises(UserError, match="is more than the 20 train images"):
        batch_sizes(PretrainParams(batch_size=32), 20, Ranks(1, 2))
    assert batch_sizes(PretrainParams(batch_size=32), 21, Ranks()) == (21, 21)
    assert batch_sizes(PretrainParams(batch_size=32, sampler="cluster"), 21, Ranks()) == (20, 20)


LAUNCHED = """
import json, sys
from pathlib import Path
from pipeline.storage.schema import Layout
from pipeline.config.pretrain import PretrainParams
from pipeline.training.run import pretrain
pretrain(PretrainParams.model_validate(json.loads(sys.argv[2])), "chosen", 12, 0, Layout(Path(sys.argv[1])))
"""


def test_a_stage_becomes_several_processes_that_stop_and_go_on_together(
    layout: Layout, tmp_path: Path
) -> None:
    script = tmp_path / "train.py"
    script.write_text(LAUNCHED)
    params = json.dumps(choices("shuffle").model_dump() | {"epochs": 200})
    environment = os.environ | {
        "CLINFONCE_PROCESSES": "2",
        "CLINFONCE_STATE_DIR": str(tmp_path / "states"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(script), str(layout.root), params]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not list((tmp_path / "states").glob("*/state-before.pt")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "stopped by signal 15; the same command resumes here" in " ".join(said.split())
    assert len(list((tmp_path / "states").glob("*/state.pt"))) == 1
