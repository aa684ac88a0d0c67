"""Parts prepared by an engine: taking JPEG files apart is Python, which threads do in turn."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from pipeline.engines.base import Engine, Job, WorkerKilled, made_in_order
from pipeline.engines.choice import EngineName, opened_engine
from pipeline.ingest.parts import Row, Task, cut, is_whole, part_name, prepare_part
from pipeline.sources.base import Refusal

CRASHED = "decoding it ends the process: damaged, or made to do harm"

Prepare = Callable[[Sequence[Row], Task, Path], None]


def prepared_parts(
    rows: Iterable[Row],
    task: Task,
    folder: Path,
    engine: EngineName = EngineName.LOCAL,
    prepare: Prepare = prepare_part,
) -> Iterator[Path]:
    """The parts of `rows` in `folder`, in their order; those that are there already are not made again."""
    parts = cut(rows)
    first = list(islice(parts, 2))
    jobs = (Job(prepare, (part, task), folder / part_name(part, task)) for part in chain(first, parts))
    with opened_engine(engine, several_jobs=len(first) > 1) as opened:
        wanted = ((job, is_whole(job.path)) for job in jobs)
        for path, _ in made_in_order(wanted, opened, lambda job: _without_killers(job, opened)):
            yield path


def _without_killers(job: Job, engine: Engine) -> Job:
    """The job, with a refusal in place of each row that kills the process which prepares it."""
    rows, task = job.arguments
    return Job(job.make, (_survivable(rows, task, job, engine), task), job.path)


def _survivable(rows: Sequence[Row], task: Task, job: Job, engine: Engine) -> Sequence[Row]:
    try:
        engine.alone(Job(job.make, (rows, task), job.path))
        return rows
    except WorkerKilled:
        pass
    if len(rows) == 1:
        return [row if isinstance(row, Refusal) else Refusal(row.path, CRASHED) for row in rows]
    middle = len(rows) // 2
    halves = (_survivable(half, task, job, engine) for half in (rows[:middle], rows[middle:]))
    return [row for half in halves for row in half]
