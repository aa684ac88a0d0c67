"""A training's state on disk, so that a killed run goes on where it was.

DVC deletes a stage's outputs before it runs, so the state lies elsewhere: in a folder named by a
fingerprint of all that decides the result. Changed parameters, inputs or code mean another folder, never
a stale resume; and since nothing of it is a DVC output, the run-cache stays on.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import UserError
from pipeline.files import sha256_of_file, write_atomically

State = dict[str, Any]
STATE_VARIABLE = "CLINFONCE_STATE_DIR"


def state_root() -> Path:
    """`.clinfonce/` of the repository; experiments that DVC runs in a temporary copy share it.

    The environment variable CLINFONCE_STATE_DIR names another place.
    """
    named = os.environ.get(STATE_VARIABLE)
    return Path(named) if named else Path(os.environ.get("DVC_ROOT", ".")) / ".clinfonce"


def fingerprint(choices: dict[str, Any], inputs: Iterable[Path]) -> str:
    """Of the choices, the inputs' bytes and the sources of the `pipeline` modules that are loaded."""
    modules = {
        name: Path(module.__file__)
        for name, module in sys.modules.items()
        if name.split(".")[0] == "pipeline" and module.__file__ is not None
    }
    parts = {
        "choices": choices,
        "inputs": [sha256_of_file(path) for path in inputs],
        "modules": {name: sha256_of_file(path) for name, path in sorted(modules.items())},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class StateFolder:
    """The state of one training; at most one process works on it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state = folder / "state.pt"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder. Raises `UserError` that names the holder if another process does.

        The lock is the kernel's: it ends with its process, however that ends.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise UserError(
                    f"process {lock.read().strip() or 'unknown'} is training this already (state in "
                    f"{self._folder}): wait for it, or end it"
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def load(self, device: torch.device) -> State | None:
        """The last state that was saved, if any."""
        if not self._state.exists():
            return None
        # weights_only: a state holds tensors, numbers and text, and never runs code.
        state: State = torch.load(self._state, map_location=device, weights_only=True)
        return state

    def save(self, state: State) -> None:
        write_atomically(self._state, lambda temporary: torch.save(state, temporary))

    def discard(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
