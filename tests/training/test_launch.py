"""Who launched us, and who is launched."""

import os
import sys
from typing import Any

import pytest
import torch

from pipeline.errors import UserError
from pipeline.ranks import ALONE
from pipeline.training import launch

VARIABLES = ["WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "SLURM_STEP_NUM_TASKS"]
VARIABLES += ["CLINFONCE_PROCESSES", "CLINFONCE_DEVICE", "SLURM_LAUNCH_NODE_IPADDR", "SLURM_JOB_ID"]
VARIABLES += ["LOCAL_WORLD_SIZE", "SLURM_STEP_TASKS_PER_NODE"]


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set first, so that what the code adds is taken back too.
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines that this process would have become."""
    commands: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _program, arguments: commands.append(arguments))
    monkeypatch.setattr(sys, "argv", ["stages/pretrain.py", "chosen"])
    return commands


def test_one_process_a_gpu(monkeypatch: pytest.MonkeyPatch, replaced: list[list[str]]) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    launch.start_processes()
    (command,) = replaced
    assert command[1:3] == ["-m", "torch.distributed.run"]
    assert "--nproc-per-node=4" in command
    assert command[-2:] == ["stages/pretrain.py", "chosen"]


@pytest.mark.parametrize(
    ("gpus", "variables"),
    [
        (1, {}),
        (0, {}),
        (4, {"CLINFONCE_DEVICE": "cuda:1"}),
        (4, {"CLINFONCE_PROCESSES": "1"}),
        (4, {"WORLD_SIZE": "4"}),
        (4, {"SLURM_STEP_NUM_TASKS": "8"}),
    ],
)
def test_it_stays_one_process(
    monkeypatch: pytest.MonkeyPatch, replaced: list[list[str]], gpus: int, variables: dict[str, str]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    launch.start_processes()
    assert replaced == []


def test_no_number_of_processes(monkeypatch: pytest.MonkeyPatch, replaced: list[list[str]]) -> None:
    monkeypatch.setenv("CLINFONCE_PROCESSES", "many")
    with pytest.raises(UserError, match="CLINFONCE_PROCESSES=many is no number of processes"):
        launch.start_processes()
    assert replaced == []


def test_without_a_launcher_it_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINFONCE_DEVICE", "cpu")
    # A batch script of SLURM has this one too, and is one process.
    monkeypatch.setenv("SLURM_NTASKS", "8")
    with launch.joined_ranks() as (ranks, device):
        assert (ranks, device) == (ALONE, torch.device("cpu"))


def test_slurm_says_where_a_task_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = {
        "SLURM_PROCID": "5",
        "SLURM_STEP_NUM_TASKS": "8",
        "SLURM_LOCALID": "1",
        "SLURM_JOB_ID": "7123456",
        "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    }
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="set MASTER_ADDR to its host"):
        launch._translate_slurm()
    monkeypatch.setenv("SLURM_LAUNCH_NODE_IPADDR", "10.0.0.1")
    monkeypatch.delenv("WORLD_SIZE")
    launch._translate_slurm()
    expected: dict[str, Any] = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "10.0.0.1"}
    expected["LOCAL_WORLD_SIZE"] = "4"
    assert {name: os.environ[name] for name in expected} == expected
    assert os.environ["MASTER_PORT"] == str(29_400 + 3456)
