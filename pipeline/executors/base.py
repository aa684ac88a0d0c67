"""The interface of the executors, and how their files come back in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Job:
    """One file to be made: `make(*arguments, path)` writes it.

    `make` is found by its name in a module, and what it writes follows from the arguments and the files that
    they name, wherever it runs.
    """

    make: Callable[..., None]
    arguments: tuple[Any, ...]
    path: Path
    refused: Callable[[Any, str], Any] | None = None
    """Of a job that decodes strangers' images: what takes the place of one that ends its process, as in
    `pipeline.untrusted.isolation.pool.Call`. The images are the first argument."""


class WorkerKilled(Exception):
    """The process that did a job died beside it, several times."""


class Pending(Protocol):
    def wait(self) -> None:
        """Until the file is there. Raises `WorkerKilled`, and what the job raised."""


class Executor(Protocol):
    ahead: int
    """So many jobs may be under way, so that no worker waits and little is held in memory."""

    def submit(self, job: Job) -> Pending:
        """Begins the job, now or when there is room."""

    def close(self) -> None:
        """Jobs that have not begun are forgotten."""


JobState = tuple[Job, bool]
"""A job, and whether its file is there already."""


def ordered_results(requested: Iterable[JobState], executor: Executor) -> Iterator[tuple[Path, bool]]:
    """Each job's path as soon as its file, and those before it, are there; and whether it was there already.

    Raises `WorkerKilled`, and what a job raised.
    """
    begun: deque[tuple[Job, Pending | None]] = deque()
    for job, exists in requested:
        begun.append((job, None if exists else executor.submit(job)))
        if len(begun) > executor.ahead:
            yield _finished(*begun.popleft())
    while begun:
        yield _finished(*begun.popleft())


def _finished(job: Job, pending: Pending | None) -> tuple[Path, bool]:
    if pending is not None:
        pending.wait()
    return job.path, pending is None
