"""The interface of the engines, and how their files come back in order."""

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


class WorkerKilled(Exception):
    """The process that did a job died of it, or beside it."""


class Pending(Protocol):
    def wait(self) -> None:
        """Until the file is there. Raises `WorkerKilled`, and what the job raised."""


class Engine(Protocol):
    ahead: int
    """So many jobs may be under way, so that no worker waits and little is held in memory."""

    def submit(self, job: Job) -> Pending:
        """Begins the job, now or when there is room."""

    def alone(self, job: Job) -> None:
        """Does the job where it can kill no other. Raises `WorkerKilled` if it kills its process."""

    def close(self) -> None:
        """Jobs that have not begun are forgotten."""


Wanted = tuple[Job, bool]
"""A job, and whether its file is there already."""


def made_in_order(
    wanted: Iterable[Wanted], engine: Engine, mended: Callable[[Job], Job]
) -> Iterator[tuple[Path, bool]]:
    """Each job's path as soon as its file, and those before it, are there; and whether it was there already.

    A job whose worker was killed is done again as what `mended` makes of it.
    """
    begun: deque[tuple[Job, Pending | None]] = deque()
    for job, there in wanted:
        begun.append((job, None if there else engine.submit(job)))
        if len(begun) > engine.ahead:
            yield _finished(*begun.popleft(), engine, mended)
    while begun:
        yield _finished(*begun.popleft(), engine, mended)


def _finished(
    job: Job, pending: Pending | None, engine: Engine, mended: Callable[[Job], Job]
) -> tuple[Path, bool]:
    if pending is None:
        return job.path, True
    try:
        pending.wait()
    except WorkerKilled:
        engine.alone(mended(job))
    return job.path, False
