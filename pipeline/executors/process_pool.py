"""An executor with processes on this machine; a process that a job kills is replaced."""

from concurrent.futures import Future
from typing import Any

from pipeline.executors.base import Job, WorkerKilled
from pipeline.untrusted.isolation.pool import Call, Pool
from pipeline.untrusted.isolation.workers import WorkerDied

AHEAD = 2
"""Number of running or waiting jobs per worker."""


class ProcessPool:
    def __init__(self, workers: int) -> None:
        self.ahead = AHEAD * workers
        self._pool = Pool(workers)

    def submit(self, job: Job) -> "_Pending":
        return _Pending(self._pool.submit(call_of(job)))

    def close(self) -> None:
        self._pool.close()


class _Pending:
    def __init__(self, future: "Future[Any]") -> None:
        self._future = future

    def wait(self) -> None:
        try:
            self._future.result()
        except WorkerDied as died:
            raise WorkerKilled from died


def call_of(job: Job) -> Call:
    """Returns the call that a worker of `pipeline.untrusted.isolation` makes for the job."""
    assert job.refused is not None, "a job of strangers' images"
    items, *others = job.arguments
    return Call(job.make, items, (*others, job.path), job.refused)
