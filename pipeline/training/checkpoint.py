"""Checkpoints of a training, from which a killed run resumes.

DVC deletes the outputs of a stage before it runs, so the state is kept elsewhere: in a folder named by a
fingerprint of everything that determines the result. Changed parameters, inputs or code lead to another
folder, never to a stale resume. Since the state is not a DVC output, the run-cache stays enabled.

The folder contains `lock`, `waiting` while other processes wait for the lock, the newest state `state.pt`,
the previous one `state-before.pt`, and tensors that never change once computed, `kept-<name>.pt`. Each `.pt`
file ends with a checksum of itself.
"""

import hashlib
import io
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.runtime.console import echo
from pipeline.runtime.distributed import Ranks
from pipeline.runtime.errors import UserError, shown
from pipeline.storage.files import sha256_of_file, write_atomically
from pipeline.storage.locks import FileLock
from pipeline.training.shutdown import Interrupted, StopRequest

State = dict[str, Any]
SHARE_VARIABLE = "CLINFONCE_SAVING_SHARE"
"""Environment variable with the share of the time that saving may take, copying and writing included."""
WAITING_SECONDS = 1.0
"""Seconds between two attempts to acquire the lock."""
CHECKSUM_BYTES = hashlib.sha256().digest_size


def fingerprint(choices: dict[str, Any], inputs: Iterable[Path]) -> str:
    """Returns a hash of the choices, the inputs' bytes and the sources of the loaded `pipeline` modules."""
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
    """The checkpoints of one training; at most one process works on them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._newest, self._before = folder / "state.pt", folder / "state-before.pt"
        self._lock = FileLock(folder / "lock")
        self._writer = ThreadPoolExecutor(1)
        self._writing: Future[float] | None = None
        self._saved_at, self._seconds = -math.inf, 0.0
        self._share = saving_share()

    @contextmanager
    def locked(self, title: str, ranks: Ranks, stop: StopRequest) -> Iterator[None]:
        """Holds the folder's lock on the first rank, for all ranks, during the block.

        If another process holds it, such as that of an experiment with the same training, prints a message
        and makes all ranks wait. Raises `Interrupted` if a signal arrives meanwhile.
        """
        try:
            # All ranks take part in each attempt, so that no collective operation runs into its timeout.
            while not ranks.broadcast_object(ranks.is_main and self._lock.try_acquire()):
                if requested := ranks.all_reduce_max(stop.signal_number or 0):
                    raise Interrupted(requested)
                if ranks.is_main and self._lock.announce_waiting():
                    holder = self._lock.holder
                    echo(f"{title}: process {holder} is training this already: waiting for it", stderr=True)
                time.sleep(WAITING_SECONDS)
            yield
        finally:
            self.wait()
            self._lock.close()

    def load(self) -> tuple[State | None, list[str]]:
        """Returns the last intact state, on the CPU, or None, and a sentence about each damaged file."""
        damaged: list[str] = []
        for path in (self._newest, self._before):
            if path.exists():
                state = _read(path)
                if state is not None:
                    return state, damaged
                damaged.append(f"{path} is damaged and is passed over")
        return None, damaged

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last save for another one to stay within its share."""
        if self._writing is not None and self._writing.done():
            self.wait()
        passed = time.monotonic() - self._saved_at
        # A save that is still being written has taken all of the time since it began.
        taken = self._seconds if self._writing is None else passed
        return self._share * passed >= taken

    def save(self, state: State) -> None:
        """Copies `state` and returns; a thread writes the copy while training continues."""
        started = time.monotonic()
        copied = _copied(state)
        self.wait()
        self._saved_at = time.monotonic()
        self._seconds = self._saved_at - started
        self._writing = self._writer.submit(self._replace, copied)

    def wait(self) -> None:
        """Waits until the last save is on disk. Raises any exception of the writing thread."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            self._seconds += writing.result()

    def keep(self, name: str, tensor: Tensor) -> None:
        """Writes a tensor that belongs to all later states once, instead of into each of them."""
        _write(self._kept(name), {"tensor": tensor.cpu()})

    def kept(self, name: str) -> Tensor | None:
        """Returns the tensor written by `keep`, or None if it is damaged or missing."""
        path = self._kept(name)
        state = _read(path) if path.exists() else None
        return None if state is None else state["tensor"]

    @property
    def has_waiters(self) -> bool:
        """Whether another process waits for the end of this training."""
        return self._lock.has_waiters()

    def discard(self) -> None:
        self.wait()
        # The states first, as they refer to the rest: a kill in between must not leave a state with missing
        # parts.
        for path in (self._before, self._newest):
            path.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _kept(self, name: str) -> Path:
        return self._folder / f"kept-{name}.pt"

    def _replace(self, state: State) -> float:
        """Writes `state` as the newest one; returns the seconds that this took."""
        started = time.monotonic()
        if self._newest.exists():
            # A kill between the two renames leaves the previous state, which is intact.
            os.replace(self._newest, self._before)
        _write(self._newest, state)
        return time.monotonic() - started


def saving_share() -> float:
    named = os.environ.get(SHARE_VARIABLE, "0.02")
    try:
        share = float(named)
    except ValueError:
        share = 0.0
    if not share > 0:
        raise UserError(
            f"{SHARE_VARIABLE}={shown(named)} is no share of the time: use a number above 0, such as 0.02"
        )
    return share


def _copied(value: Any) -> Any:
    """Returns a copy on the CPU, which training does not change."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_copied(part) for part in value]
    return value


def _write(path: Path, state: State) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            summed = _Summed(file)
            torch.save(state, summed)  # type: ignore[arg-type]  # it needs no more than `write`
            file.write(summed.checksum.digest())

    write_atomically(path, write)


def _read(path: Path) -> State | None:
    """Returns the state in the file, or None if the checksum does not match."""
    content = path.read_bytes()
    payload, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:]
    if hashlib.sha256(payload).digest() != checksum:
        return None
    # weights_only: a state holds only tensors, numbers and text, so loading it needs to run no code.
    state: State = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return state


class _Summed(io.RawIOBase):
    """Writes to `file` and computes the checksum of what is written."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.checksum = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.checksum.update(data)
        written: int = self._file.write(data)
        return written
