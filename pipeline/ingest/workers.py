"""Parts prepared side by side, by processes: taking JPEG files apart is Python, which threads do in turn."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing.connection import wait
from pathlib import Path

from pipeline.errors import UserError
from pipeline.ingest.parts import Row, Task, cut, is_whole, part_name, prepare_part
from pipeline.machine import usable_cores
from pipeline.sources.base import Refusal

WORKERS_VARIABLE = "CLINFONCE_WORKERS"
AHEAD = 2
"""Parts a worker that are read from the source before they are needed."""
CRASHED = "decoding it ends the process: damaged, or made to do harm"

Prepare = Callable[[Sequence[Row], Task, Path], None]


def worker_count() -> int:
    """The cores that this process may use; the environment variable CLINFONCE_WORKERS overrides."""
    named = os.environ.get(WORKERS_VARIABLE)
    if named is None:
        return max(1, round(usable_cores()))
    if not named.isdecimal() or int(named) < 1:
        raise UserError(f"{WORKERS_VARIABLE}={named} must be a number of processes: set it to 1 or more")
    return int(named)


def prepared_parts(
    rows: Iterable[Row], task: Task, folder: Path, prepare: Prepare = prepare_part
) -> Iterator[Path]:
    """The parts of `rows` in `folder`, in their order; those that are there already are not made again.

    A few rows, or all where there is one worker, are prepared in this process.
    """
    parts = cut(rows)
    first = list(islice(parts, 2))
    workers = worker_count() if len(first) == 2 else 1
    if workers == 1:
        for part in chain(first, parts):
            path = folder / part_name(part, task)
            if not is_whole(path):
                prepare(part, task, path)
            yield path
        return
    pool = _Pool(workers, task, prepare)
    try:
        pending: deque[_Pending] = deque()
        for part in chain(first, parts):
            pending.append(pool.submit(part, folder / part_name(part, task)))
            if len(pending) > AHEAD * workers:
                yield pool.finished(pending.popleft(), pending)
        while pending:
            yield pool.finished(pending.popleft(), pending)
    finally:
        pool.close()


class _Pending:
    def __init__(self, rows: Sequence[Row], path: Path) -> None:
        self.rows, self.path = rows, path
        self.done: Future[None] | None = None
        """None: it was there already."""


class _Pool:
    """Worker processes, and new ones where an image has killed one of them."""

    def __init__(self, workers: int, task: Task, prepare: Prepare) -> None:
        self._workers, self._task, self._prepare = workers, task, prepare
        self._processes = _processes(workers)

    def submit(self, rows: Sequence[Row], path: Path) -> _Pending:
        pending = _Pending(rows, path)
        if not is_whole(path):
            self._start(pending)
        return pending

    def _start(self, pending: _Pending) -> None:
        try:
            pending.done = self._processes.submit(self._prepare, pending.rows, self._task, pending.path)
        except BrokenProcessPool as broken:
            pending.done = Future()
            pending.done.set_exception(broken)

    def finished(self, part: _Pending, later: Iterable[_Pending]) -> Path:
        """Waits for `part`. If a worker was killed, those that were under way with it are begun again."""
        try:
            if part.done is not None:
                part.done.result()
        except BrokenProcessPool:
            self._processes.shutdown()
            rows = without_killers(part.rows, self._task, part.path, self._prepare)
            with _processes(1) as alone:
                alone.submit(self._prepare, rows, self._task, part.path).result()
            self._processes = _processes(self._workers)
            for other in later:
                if not is_whole(other.path):
                    self._start(other)
        return part.path

    def close(self) -> None:
        self._processes.shutdown(cancel_futures=True)


def without_killers(rows: Sequence[Row], task: Task, path: Path, prepare: Prepare) -> Sequence[Row]:
    """The rows, with a refusal in place of each one that kills the process which prepares it."""
    with _processes(1) as alone:
        try:
            alone.submit(prepare, rows, task, path).result()
            return rows
        except BrokenProcessPool:
            pass
    if len(rows) == 1:
        return [row if isinstance(row, Refusal) else Refusal(row.path, CRASHED) for row in rows]
    middle = len(rows) // 2
    halves = (without_killers(half, task, path, prepare) for half in (rows[:middle], rows[middle:]))
    return [row for half in halves for row in half]


def _processes(workers: int) -> ProcessPoolExecutor:
    # A fork of a process that has threads may hold a lock for ever.
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin)


def _begin() -> None:
    """Ctrl+C is the main process's; and when that dies, however it dies, its workers end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
