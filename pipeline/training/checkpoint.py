"""A training's state on disk, so that a killed run resumes.

DVC deletes a stage's outputs before it runs, so the state lies elsewhere: in a folder named by a
fingerprint of all that decides the result. Changed parameters, inputs or code mean another folder, never
a stale resume; and since nothing of it is a DVC output, the run-cache stays on.

In the folder: `lock`, `waiting` where other processes wait for it, the newest state `state.pt`, the one
before it `state-before.pt`, and what never changes once it is made, `kept-<name>.pt`. Each state ends with a
checksum of itself.
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
"""Share of the time that saving may take, the copy and the writing thread together."""
WAITING_SECONDS = 1.0
"""Between two attempts to get the lock."""
CHECKSUM_BYTES = hashlib.sha256().digest_size


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
        self._newest, self._before = folder / "state.pt", folder / "state-before.pt"
        self._lock = FileLock(folder / "lock")
        self._writer = ThreadPoolExecutor(1)
        self._writing: Future[float] | None = None
        self._saved_at, self._seconds = -math.inf, 0.0
        self._share = saving_share()

    @contextmanager
    def locked(self, title: str, ranks: Ranks, stop: StopRequest) -> Iterator[None]:
        """Within the block the first rank holds the folder, for all. Where another process holds it, such as
        that of an experiment with the same training, a line says so and all ranks wait for it.

        Raises `Interrupted` if a signal arrives meanwhile.
        """
        try:
            # All ranks ask each other, so that none waits for longer than a message may take.
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
        """The last whole state on the CPU, if any, and a sentence about each file that was damaged."""
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
        """Whether so much time has passed since the last save that another one is cheap beside it."""
        if self._writing is not None and self._writing.done():
            self.wait()
        passed = time.monotonic() - self._saved_at
        # While it is still being written, it has taken all of the time since.
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
        """Until what was saved is on the disk. Raises what went wrong there."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            self._seconds += writing.result()

    def keep(self, name: str, tensor: Tensor) -> None:
        """Writes what belongs to all later states once, and not into each of them."""
        _write(self._kept(name), {"tensor": tensor.cpu()})

    def kept(self, name: str) -> Tensor | None:
        """None where it is damaged or lost."""
        path = self._kept(name)
        state = _read(path) if path.exists() else None
        return None if state is None else state["tensor"]

    @property
    def has_waiters(self) -> bool:
        """Whether another process waits for the end of this training."""
        return self._lock.has_waiters()

    def discard(self) -> None:
        self.wait()
        # First what names the rest: a kill in the midst must not leave a state whose parts are gone.
        for path in (self._before, self._newest):
            path.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _kept(self, name: str) -> Path:
        return self._folder / f"kept-{name}.pt"

    def _replace(self, state: State) -> float:
        """Writes it as the newest; returns the seconds that it took."""
        started = time.monotonic()
        if self._newest.exists():
            # A kill between the two leaves the one before, which is whole.
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
    """On the CPU, and no longer changed by training."""
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
    """None if the file is not what was written."""
    content = path.read_bytes()
    payload, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:]
    if hashlib.sha256(payload).digest() != checksum:
        return None
    # weights_only: a state holds tensors, numbers and text, and never runs code.
    state: State = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return state


class _Summed(io.RawIOBase):
    """Passes on what is written and sums it."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.checksum = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.checksum.update(data)
        written: int = self._file.write(data)
        return written
