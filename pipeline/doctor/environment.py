"""The environment variables that clinfonce reads: those that are set, and those that nobody reads."""

import difflib
import os
from collections.abc import Callable

import torch

from pipeline.devices import DEVICE_VARIABLE, pick_device
from pipeline.doctor.checks import Check, Situation, fail, ok, warn
from pipeline.engines.choice import ENGINE_VARIABLE, engine_named_by_environment
from pipeline.engines.workers import WORKERS_VARIABLE, worker_count
from pipeline.errors import UserError
from pipeline.files import STATE_VARIABLE
from pipeline.training.feed import FEED_VARIABLE, feed_kind
from pipeline.training.launch import PROCESSES_VARIABLE, wanted_processes
from pipeline.training.network import COMPILE_VARIABLE
from pipeline.training.state import SHARE_VARIABLE, saving_share
from pipeline.training.trackers import TRACKERS_VARIABLE, tracker_names

PREFIX = "CLINFONCE_"
KNOWN = (
    COMPILE_VARIABLE,
    DEVICE_VARIABLE,
    ENGINE_VARIABLE,
    FEED_VARIABLE,
    PROCESSES_VARIABLE,
    SHARE_VARIABLE,
    STATE_VARIABLE,
    TRACKERS_VARIABLE,
    WORKERS_VARIABLE,
    "CLINFONCE_SHARED_DATA",  # the tests read it
)

READERS: dict[str, Callable[[], object]] = {
    DEVICE_VARIABLE: pick_device,
    ENGINE_VARIABLE: engine_named_by_environment,
    # No bytes at all: only a value that is none of its kinds is refused.
    FEED_VARIABLE: lambda: feed_kind(0, torch.device("cpu")),
    PROCESSES_VARIABLE: wanted_processes,
    SHARE_VARIABLE: saving_share,
    TRACKERS_VARIABLE: tracker_names,
    WORKERS_VARIABLE: worker_count,
}
"""What refuses a wrong value, as the stages would."""


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
