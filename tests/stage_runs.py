"""The five stages in processes that can be killed, on a project so small that each takes a second or two."""

import importlib
import json
import os
import random
import shutil
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from processes import STAGES, started
from project import merge
from support import REPOSITORY, forbid_network

STRENGTH_VARIABLE = "CLINFONCE_FAULTS"
"""How many accidents happen to each stage; 20 take an hour."""
SMALL: dict[str, Any] = {
    "ingest": {"image_size": 16, "synthetic": {"images": 120}},
    "cluster": {"method": "kmeans", "kmeans": {"clusters": 8, "max_iter": 5, "n_init": 1}},
    "pretrain": {"epochs": 3, "batch_size": 32, "precision": "float32"},
    "report": {"references": []},
}
MADE = {
    "ingest": ["images"],
    "cluster": ["clusters"],
    "pretrain": ["encoders"],
    "evaluate": ["evaluations"],
    "report": ["report"],
}
"""By stage the folders of `data/` that it makes."""
STATE = Path("state")
UNTRACED = {"timing.csv"}
"""Holds how long it took, which no two runs have in common."""


def strength() -> int:
    return int(os.environ.get(STRENGTH_VARIABLE, "1"))


class Workshop:
    """A folder with params.yaml and data/, in which stages run without DVC."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def create(cls, root: Path) -> "Workshop":
        """All stages have run in it."""
        root.mkdir()
        shutil.copy(REPOSITORY / "params.yaml", root)
        workshop, seconds = cls(root), {}
        workshop.change_params(SMALL)
        workshop.start("ingest").join()  # the first process starts the server
        for stage in STAGES:
            began = time.monotonic()
            assert workshop.run(stage) == 0, workshop.said
            seconds[stage] = time.monotonic() - began
        (root / "seconds.json").write_text(json.dumps(seconds))
        return workshop

    def change_params(self, changes: dict[str, Any]) -> None:
        yaml = YAML()
        values = yaml.load(self.root / "params.yaml")
        merge(values, changes)
        yaml.dump(values, self.root / "params.yaml")

    def copy(self, root: Path) -> "Workshop":
        shutil.copytree(self.root, root, symlinks=True)
        return Workshop(root)

    def start(self, stage: str) -> BaseProcess:
        return started(_run, self.root, stage)

    def run(self, stage: str) -> int | None:
        """The exit code; what it said is in `said`."""
        process = self.start(stage)
        process.join(120)
        return process.exitcode

    @property
    def said(self) -> str:
        return (self.root / "said.txt").read_text()

    def take_away(self, stage: str) -> None:
        """The stage's outputs, as DVC does before it runs one."""
        for name in MADE[stage]:
            shutil.rmtree(self.root / "data" / name)

    def bring_back(self, stage: str, source: "Workshop") -> None:
        """The stage's outputs as they are in `source`."""
        for name in MADE[stage]:
            shutil.copytree(source.root / "data" / name, self.root / "data" / name, dirs_exist_ok=True)

    def outputs(self, stage: str) -> dict[str, bytes]:
        """All files below what the stage makes, hidden and half-written ones, too."""
        folders = [self.root / "data" / name for name in MADE[stage]]
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for folder in folders
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name not in UNTRACED
        }

    def left_over(self) -> list[Path]:
        """Temporary files and folders, and what remains of unfinished work."""
        unfinished = [path for path in (self.root / STATE).glob("*") if path.name != "times"]
        return [*self.root.rglob("*.tmp"), *unfinished]

    def kill_at_random(self, stage: str, lot: random.Random, seconds: float, *, in_a_save: bool) -> bool:
        """At any moment of a run that takes about `seconds`, or in the middle of the next save of its state.

        Returns whether it was still running.
        """
        process = self.start(stage)
        process.join(lot.random() * seconds)
        while in_a_save and process.is_alive() and not list((self.root / STATE).glob("*/.*.tmp")):
            time.sleep(0.0005)
        if process.is_alive():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        return process.exitcode == -signal.SIGKILL

    def seconds_of(self, stage: str) -> float:
        """How long it took when it was not disturbed."""
        return float(json.loads((self.root / "seconds.json").read_text())[stage])


def _run(root: Path, stage: str) -> None:
    from pipeline.ingest import chunks

    os.chdir(root)
    forbid_network()
    os.environ["CLINFONCE_STATE_DIR"] = str(STATE)
    os.environ["CLINFONCE_WORKERS"] = "1"
    with open("said.txt", "wb") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    # Many parts, so that a killed run has some to go on from.
    chunks.ROWS_PER_CHUNK = 16
    main = importlib.import_module(f"stages.{stage}").main
    if stage in ("ingest", "report"):
        main()
    else:
        main("chosen")
