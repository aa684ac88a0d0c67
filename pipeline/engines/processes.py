"""Processes on this machine, and new ones where a job has killed one of them."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait

from pipeline.engines.base import Job, WorkerKilled
from pipeline.engines.workers import WORKERS_VARIABLE
from pipeline.errors import UserError

AHEAD = 2
"""Jobs a worker that have begun, or wait for it."""


class Processes:
    def __init__(self, workers: int) -> None:
        self.ahead = AHEAD * workers
        self._workers = workers
        self._pool = _pool(workers)
        self._under_way: list[_Pending] = []

    def submit(self, job: Job) -> "_Pending":
        pending = _Pending(self, job)
        self._start(pending)
        self._under_way.append(pending)
        return pending

    def alone(self, job: Job) -> None:
        with _pool(1) as pool:
            try:
                pool.submit(job.make, *job.arguments, job.path).result()
            except BrokenProcessPool:
                _check_that_processes_start()
                raise WorkerKilled from None

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def finish(self, pending: "_Pending") -> None:
        self._under_way.remove(pending)
        try:
            pending.future.result()
        except BrokenProcessPool:
            self._begin_again()
            raise WorkerKilled from None

    def _start(self, pending: "_Pending") -> None:
        job = pending.job
        try:
            pending.future = self._pool.submit(job.make, *job.arguments, job.path)
        except BrokenProcessPool as broken:
            pending.future = Future()
            pending.future.set_exception(broken)

    def _begin_again(self) -> None:
        """A pool ends as a whole when one of its processes is killed."""
        self._pool.shutdown()
        _check_that_processes_start()
        self._pool = _pool(self._workers)
        for pending in self._under_way:
            if isinstance(pending.future.exception(), BrokenProcessPool):
                self._start(pending)


class _Pending:
    future: "Future[None]"

    def __init__(self, engine: Processes, job: Job) -> None:
        self.job = job
        self._engine = engine

    def wait(self) -> None:
        self._engine.finish(self)


def _pool(workers: int) -> ProcessPoolExecutor:
    # A fork of a process that has threads may hold a lock for ever.
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin)


def _check_that_processes_start() -> None:
    """Raises `UserError` where no job is to blame. A new process begins by importing the main script."""
    with _pool(1) as pool:
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool:
            raise UserError(
                "no further process can be started (why stands above): a script of your own calls the "
                f'pipeline below `if __name__ == "__main__":`, or set {WORKERS_VARIABLE}=1 to do without'
            ) from None


def _begin() -> None:
    """Ctrl+C is the main process's; and when that dies, however it dies, its workers end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
