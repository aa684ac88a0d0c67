"""Environment variables of clinfonce: those that are set, and those that no code reads."""

import difflib
import os
from collections.abc import Callable

import torch

from pipeline.doctor.base import Check, Situation, fail, ok, warn
from pipeline.executors.select import EXECUTOR_VARIABLE, engine_named_by_environment
from pipeline.executors.workers import WORKERS_VARIABLE, worker_count
from pipeline.runtime.device import DEVICE_VARIABLE, pick_device
from pipeline.runtime.errors import UserError
from pipeline.storage.files import STATE_VARIABLE
from pipeline.training.checkpoint import SHARE_VARIABLE, saving_share
from pipeline.training.launch import PROCESSES_VARIABLE, requested_processes
from pipeline.training.loaders.select import LOADER_VARIABLE, loader_kind
from pipeline.training.network import COMPILE_VARIABLE
from pipeline.training.trackers import TRACKERS_VARIABLE, tracker_names

PREFIX = "CLINFONCE_"
KNOWN = (
    COMPILE_VARIABLE,
    DEVICE_VARIABLE,
    EXECUTOR_VARIABLE,
    LOADER_VARIABLE,
    PROCESSES_VARIABLE,
    SHARE_VARIABLE,
    STATE_VARIABLE,
    TRACKERS_VARIABLE,
    WORKERS_VARIABLE,
    "CLINFONCE_SHARED_DATA",  # the tests read it
)

READERS: dict[str, Callable[[], object]] = {
    DEVICE_VARIABLE: pick_device,
    EXECUTOR_VARIABLE: engine_named_by_environment,
    # With no bytes, only an unknown kind is refused.
    LOADER_VARIABLE: lambda: loader_kind(0, torch.device("cpu")),
    PROCESSES_VARIABLE: requested_processes,
    SHARE_VARIABLE: saving_share,
    TRACKERS_VARIABLE: tracker_names,
    WORKERS_VARIABLE: worker_count,
}
"""Functions that refuse a wrong value, as the stages do."""


def look(_situation: Situation) -> list[Check]:
    ours = sorted(name for name in os.environ if name.startswith(PREFIX))
    if not ours:
        return [ok("variables", f"none of {PREFIX}* is set")]
    return [_variable(name) for name in ours]


def _variable(name: str) -> Check:
    if name in KNOWN:
        try:
            READERS.get(name, str)()
        except UserError as error:
            return fail(name, str(error), "change it, or unset it.")
        return ok(name, os.environ[name])
    close = difflib.get_close_matches(name, KNOWN, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    return warn(name, "is set, and nothing reads it", f"{meant}docs/devices.md lists the variables.")
