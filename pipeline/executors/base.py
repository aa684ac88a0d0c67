"""The interface of the executors, and their results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Job:
    """One file to write: `make(*arguments, path)` writes it.

    `make` is a module-level function whose output depends only on the arguments and the files that they
    name, wherever it runs.
    """

    make: Callable[..., None]
    arguments: tuple[Any, ...]
    path: Path
    refused: Callable[[Any, str], Any] | None = None
    """For jobs that decode untrusted images: returns the replacement of an image that kills its process, as
    in `pipeline.untrusted.isolation.pool.Call`. The images are the first argument."""


class WorkerKilled(Exception):
    """The process of a job was killed several times."""


class Pending(Protocol):
    def wait(self) -> None:
        """Blocks until the file exists. Raises `WorkerKilled`, and the exceptions of the job."""


class Executor(Protocol):
    ahead: int
    """The number of pending jobs that keeps all workers busy with little memory."""

    def submit(self, job: Job) -> Pending:
        """Starts the job, now or when a worker is free."""

    def close(self) -> None:
        """Drops the jobs that have not started."""


JobState = tuple[Job, bool]
"""A job, and whether its file exists already."""


def ordered_results(requested: Iterable[JobState], executor: Executor) -> Iterator[tuple[Path, bool]]:
    """Yields the path of each job, in order, once its file exists, and whether it existed already.

    Raises `WorkerKilled`, and the exceptions of the jobs.
    """
    started: deque[tuple[Job, Pending | None]] = deque()
    for job, exists in requested:
        started.append((job, None if exists else executor.submit(job)))
        if len(started) > executor.ahead:
            yield _finished(*started.popleft())
    while started:
        yield _finished(*started.popleft())


def _finished(job: Job, pending: Pending | None) -> tuple[Path, bool]:
    if pending is not None:
        pending.wait()
    return job.path, pending is None
