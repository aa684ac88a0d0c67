"""Parts prepared by an engine, in processes that may die of an image."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from pipeline.engines.base import Job, WorkerKilled, made_in_order
from pipeline.engines.choice import EngineName, opened_engine
from pipeline.errors import UserError
from pipeline.ingest.parts import Row, Task, cut, is_whole, part_name, prepare_part, refused

Prepare = Callable[[Sequence[Row], Task, Path], None]


def prepared_parts(
    rows: Iterable[Row],
    task: Task,
    folder: Path,
    engine: EngineName = EngineName.LOCAL,
    prepare: Prepare = prepare_part,
) -> Iterator[Path]:
    """The parts of `rows` in `folder`, in their order; those that are there already are not made again.

    An image that ends the process which prepares it is refused. Raises `UserError` where it is no image that
    ends the processes.
    """
    parts = cut(rows)
    first = list(islice(parts, 2))
    jobs = (
        # Rows that are refused for one reason at one place may fill several parts, which are alike then.
        Job(prepare, (part, task), folder / f"{number}-{part_name(part, task)}", refused)
        for number, part in enumerate(chain(first, parts))
    )
    with opened_engine(engine, several_jobs=len(first) > 1) as opened:
        try:
            for path, _ in made_in_order(((job, is_whole(job.path)) for job in jobs), opened):
                yield path
        except WorkerKilled:
            raise UserError(
                "the process that prepares images was killed several times, by none of them but for lack of "
                "memory perhaps: look why, and type the same command again, which resumes"
            ) from None
