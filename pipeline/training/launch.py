"""Distributed training: launched by torchrun or SLURM, or started from here with one process per GPU."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import torch
import torch.distributed as dist

from pipeline.runtime.device import DEVICE_VARIABLE, pick_device
from pipeline.runtime.distributed import ALONE, Ranks
from pipeline.runtime.errors import UserError, first_line, shown, system_error_message
from pipeline.runtime.resources import whole_number
from pipeline.runtime.sanitize import for_utf8

PROCESSES_VARIABLE = "CLINFONCE_PROCESSES"
"""Environment variable with the number of processes to start on this machine; one per GPU if unset."""

DEFAULT_PORT = 29_400
MOST_PROCESSES = 1024
"""Maximum number of processes on one machine."""


def start_processes() -> None:
    """Replaces this process by torchrun if several processes are requested and no launcher started it.

    By default there is one process per GPU. The process id stays the same, so that whoever waits for this
    process or sends it signals reaches torchrun.
    """
    if _launched():
        return
    processes = requested_processes()
    if processes > 1:
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        os.execv(sys.executable, [sys.executable, *torchrun, *sys.argv])  # noqa: S606 - our own command line


@contextmanager
def joined_ranks() -> Iterator[tuple[Ranks, torch.device]]:
    """Yields this process's place among the ranks, and its device; leaves the process group at the end."""
    _translate_slurm()
    if not _launched():
        yield ALONE, pick_device()
        return
    count = _number("WORLD_SIZE")
    ranks = Ranks(
        _number("RANK", below=count), count, local_world_size=_number("LOCAL_WORLD_SIZE", "1", at_least=1)
    )
    device = _device_of(_number("LOCAL_RANK", "0"))
    _check_meeting_place()
    backend = "nccl" if device.type == "cuda" else "gloo"
    # A long timeout: the first ranks to arrive wait for those that still decode images.
    with _network_errors():
        dist.init_process_group(
            backend, rank=ranks.rank, world_size=ranks.world_size, timeout=timedelta(minutes=30)
        )
        if backend == "nccl":
            control = dist.new_group(backend="gloo")
            assert isinstance(control, dist.ProcessGroup), "every rank is a member"
            ranks = replace(ranks, control=control)
    try:
        yield ranks, device
    finally:
        dist.destroy_process_group()


def _launched() -> bool:
    # SLURM_NTASKS is also set in a batch script, which is a single process.
    name = "WORLD_SIZE" if "WORLD_SIZE" in os.environ else "SLURM_STEP_NUM_TASKS"
    return _number(name, "1", at_least=1) > 1


def _number(name: str, default: str | None = None, *, at_least: int = 0, below: int = 2**31) -> int:
    """Returns the number in an environment variable set by a launcher.

    Raises `UserError` if it is missing or out of range.
    """
    named = os.environ.get(name, default)
    if named is None:
        raise UserError(f"{name} is not set, and the launcher says that there are several processes: set it")
    number = whole_number(named, at_least, below - 1)
    if number is None:
        raise UserError(
            f"{name}={shown(named)} must be a number from {at_least} to {below - 1}: unset it, or let "
            "torchrun or SLURM set it"
        )
    return number


def _check_meeting_place() -> None:
    """Raises `UserError` unless the address and port where torch's ranks meet are set."""
    address = os.environ.get("MASTER_ADDR")
    if not address:
        raise UserError("MASTER_ADDR is not set: set it to the host of the first process, or let torchrun")
    if not (address.isascii() and address.isprintable()) or " " in address:
        raise UserError(
            f"MASTER_ADDR={shown(for_utf8(address))} is no host: set it to the host of the first process"
        )
    _number("MASTER_PORT", at_least=1, below=2**16)


@contextmanager
def _network_errors() -> Iterator[None]:
    """Turns the errors of torch's ranks that cannot meet into a `UserError`."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and system_error_message(error):
            raise
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise UserError(
            f"the processes cannot meet at {place} ({shown(first_line(error))}): check that MASTER_ADDR is "
            "the host of the first process, and that MASTER_PORT is free there"
        ) from None


def requested_processes() -> int:
    named = os.environ.get(PROCESSES_VARIABLE)
    if named is None:
        return 1 if os.environ.get(DEVICE_VARIABLE) else torch.cuda.device_count()
    processes = whole_number(named, 1, MOST_PROCESSES)
    if processes is None:
        raise UserError(
            f"{PROCESSES_VARIABLE}={shown(named)} must be a number of processes from 1 to {MOST_PROCESSES}"
        )
    return processes


def _translate_slurm() -> None:
    """Translates srun's environment variables to torchrun's, which torch reads."""
    if "WORLD_SIZE" in os.environ or not _launched():
        return
    slurm = {"RANK": "SLURM_PROCID", "WORLD_SIZE": "SLURM_STEP_NUM_TASKS", "LOCAL_RANK": "SLURM_LOCALID"}
    for name, slurms_name in slurm.items():
        os.environ[name] = str(_number(slurms_name))
    # Such as 8(x2) for two machines with eight tasks each.
    beside = re.match(r"\d+", os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
    os.environ["LOCAL_WORLD_SIZE"] = beside[0] if beside else os.environ["WORLD_SIZE"]
    if "MASTER_ADDR" not in os.environ:
        if "SLURM_LAUNCH_NODE_IPADDR" not in os.environ:
            raise UserError(
                "SLURM started several tasks and does not say where the first one is: set MASTER_ADDR to "
                "its host"
            )
        os.environ["MASTER_ADDR"] = os.environ["SLURM_LAUNCH_NODE_IPADDR"]
    # Jobs that share a node must not share a port.
    offset = _number("SLURM_JOB_ID", "0", below=2**63) % 10_000
    os.environ.setdefault("MASTER_PORT", str(DEFAULT_PORT + offset))


def _device_of(local_rank: int) -> torch.device:
    device = pick_device()
    if device.type != "cuda" or device.index is not None:
        return device
    if local_rank >= torch.cuda.device_count():
        raise UserError(
            f"process {local_rank} of this machine has no GPU, there are {torch.cuda.device_count()}: start "
            f"one process a GPU, or set {DEVICE_VARIABLE}=cpu"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device
