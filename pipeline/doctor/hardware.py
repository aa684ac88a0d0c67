"""Checks of the devices that a training can use, and of how much of them is free."""

import os

import torch

from pipeline.doctor.base import Check, Situation, fail, ok, size, warn
from pipeline.presentation.formatting import plural
from pipeline.runtime.device import DEVICE_VARIABLE, computes_in_bfloat16, device_name, pick_device
from pipeline.runtime.errors import UserError
from pipeline.runtime.resources import usable_cores
from pipeline.training.launch import requested_processes

BUSY_SHARE = 0.5
"""Share of the cores; above it, measurements and trainings wait for other programs."""


def look(situation: Situation) -> list[Check]:
    return [*_gpus(), *_training(situation), _cores(), _load(), _bfloat16(situation)]


def _gpus() -> list[Check]:
    checks = []
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        free, total = torch.cuda.mem_get_info(device)
        found = f"{device_name(device)}, {size(free)} of {size(total)} free"
        if free < total / 2:
            cure = "end the program that holds it (`nvidia-smi` names it), or use another GPU."
            checks.append(warn(f"GPU {index}", found, cure))
        else:
            checks.append(ok(f"GPU {index}", found))
    return checks


def _training(situation: Situation) -> list[Check]:
    try:
        device, processes = pick_device(), requested_processes()
    except UserError as error:
        return [fail("training runs on", str(error), "change that variable, or unset it.")]
    named = f" ({DEVICE_VARIABLE})" if os.environ.get(DEVICE_VARIABLE) else ""
    checks = [
        ok(
            "training runs on",
            f"{device_name(device)}{named}, {plural(max(1, processes), 'process', 'processes')}",
        )
    ]
    if situation.params is not None:
        pretrain = situation.params.pretrain
        for key, value in (("batch_size", pretrain.batch_size), ("micro_batch", pretrain.micro_batch)):
            if value is not None and value % max(1, processes):
                found = f"{value} can't be shared evenly by {processes} processes"
                cure = "choose a multiple, or set CLINFONCE_PROCESSES=1."
                checks.append(fail(f"pretrain.{key}", found, cure))
    return checks


def _cores() -> Check:
    usable, threads = usable_cores(), torch.get_num_threads()
    found = f"{usable:g} of {os.cpu_count()} usable, torch takes {threads} threads"
    if threads > max(1.0, usable):
        fitting = max(1, int(usable))
        return warn("CPU cores", found, f"set OMP_NUM_THREADS={fitting}: more threads wait for each other.")
    if threads < int(usable) and "OMP_NUM_THREADS" in os.environ:
        cure = "unset OMP_NUM_THREADS, unless other programs need the other cores."
        return warn("CPU cores", found, cure)
    return ok("CPU cores", found)


def _load() -> Check:
    busy, cores = os.getloadavg()[0], os.cpu_count() or 1
    found = f"{busy:.1f} of {cores} cores were busy in the last minute"
    if busy > BUSY_SHARE * cores:
        cure = "end the other programs, or take the times below as those of a machine that is shared."
        return warn("load", found, cure)
    return ok("load", found)


def _bfloat16(situation: Situation) -> Check:
    what = "bfloat16"
    try:
        device = pick_device()
    except UserError as error:
        return fail(what, str(error), "change that variable, or unset it.")
    has = computes_in_bfloat16(device)
    precision = situation.params.pretrain.precision if situation.params is not None else "auto"
    if precision == "bfloat16" and not has:
        cure = (
            "leave pretrain.precision at auto: without instructions for it bfloat16 is slower than float32."
        )
        return warn(what, f"the {device_name(device)} has no instructions for it", cure)
    if has:
        return ok(what, f"computed by the {device_name(device)}")
    return ok(what, f"the {device_name(device)} has no instructions for it; float32 is used")
