"""Who launched us, and who is launched."""

import os
import socket
import sys
from typing import Any

import pytest
import torch

from pipeline.runtime.distributed import ALONE
from pipeline.runtime.errors import UserError
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


ODD_NUMBERS = ["many", "", "-1", "1.5", "²", "٣", " 2", "0x2", "9" * 5000, "0" * 20 + "9" * 9, "1e3", "2\n"]


@pytest.mark.parametrize("value", ["0", *ODD_NUMBERS], ids=lambda value: repr(value[:9]))
def test_no_number_of_processes(
    monkeypatch: pytest.MonkeyPatch, replaced: list[list[str]], value: str
) -> None:
    monkeypatch.setenv("CLINFONCE_PROCESSES", value)
    with pytest.raises(UserError, match=r"CLINFONCE_PROCESSES=[\s\S]* must be a number of") as refused:
        launch.start_processes()
    assert len(str(refused.value)) < 400
    assert replaced == []


@pytest.mark.parametrize("value", ODD_NUMBERS, ids=lambda value: repr(value[:9]))
@pytest.mark.parametrize("name", ["WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"])
def test_variables_of_torchrun_that_are_no_numbers(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    launched = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    for variable, number in (launched | {name: value}).items():
        monkeypatch.setenv(variable, number)
    with pytest.raises(UserError, match=rf"^{name}=[\s\S]* must be a number"), launch.joined_ranks():
        pass


@pytest.mark.parametrize("value", ODD_NUMBERS, ids=lambda value: repr(value[:9]))
@pytest.mark.parametrize("name", ["SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_JOB_ID"])
def test_variables_of_slurm_that_are_no_numbers(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    for variable in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        # Set before they are removed, so that what is set meanwhile is taken back.
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    launched = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    launched |= {"SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1", name: value}
    for variable, number in launched.items():
        monkeypatch.setenv(variable, number)
    with pytest.raises(UserError, match=rf"^{name}=[\s\S]* must be a number"), launch.joined_ranks():
        pass


def two_processes(monkeypatch: pytest.MonkeyPatch, address: str, port: int) -> None:
    launched = {"WORLD_SIZE": "2", "RANK": "0", "CLINFONCE_DEVICE": "cpu", "MASTER_ADDR": address}
    for name, value in (launched | {"MASTER_PORT": str(port)}).items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("address", [os.fsdecode(b"\xff"), "\u65e5\u672c", "a b", "a\nb", "\x1b[31m"])
def test_an_address_that_is_no_host(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    two_processes(monkeypatch, address, 29_533)
    with pytest.raises(UserError, match="is no host: set it to the host") as refused, launch.joined_ranks():
        pass
    str(refused.value).encode()


def test_a_port_in_use_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        two_processes(monkeypatch, "localhost", taken.getsockname()[1])
        sentence = r"cannot meet at localhost:\d+ .*MASTER_PORT is free there"
        with pytest.raises(UserError, match=sentence), launch.joined_ranks():
            pass


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.distributed.DistBackendError("NCCL error\nmore"), UserError),
        (RuntimeError("Gloo connectFullMesh failed"), UserError),
        (RuntimeError("CUDA out of memory. Tried to allocate"), RuntimeError),
    ],
)
def test_errors_of_ranks_that_cannot_meet(
    monkeypatch: pytest.MonkeyPatch, error: Exception, expected: type[Exception]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    two_processes(monkeypatch, "localhost", 29_533)
    monkeypatch.setattr(torch.distributed, "init_process_group", fail)
    with pytest.raises(expected) as failed, launch.joined_ranks():
        pass
    assert type(failed.value) is expected
    assert "\n" not in str(failed.value)


def test_a_rank_must_be_below_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(UserError, match="RANK=2 must be a number from 0 to 1"), launch.joined_ranks():
        pass
    monkeypatch.delenv("RANK")
    with pytest.raises(UserError, match="RANK is not set"), launch.joined_ranks():
        pass


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
