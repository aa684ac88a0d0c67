"""Parts prepared by an executor, in processes that may die of an image."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from pipeline.executors.base import Job, WorkerKilled, ordered_results
from pipeline.executors.select import ExecutorName, open_executor
from pipeline.ingest.chunks import Row, Task, chunk_name, cut, is_whole, prepare_chunk, refused
from pipeline.runtime.errors import UserError

Prepare = Callable[[Sequence[Row], Task, Path], None]


def prepared_chunks(
    rows: Iterable[Row],
    task: Task,
    folder: Path,
    executor: ExecutorName = ExecutorName.LOCAL,
    prepare: Prepare = prepare_chunk,
) -> Iterator[Path]:
    """The parts of `rows` in `folder`, in their order; those that are there already are not made again.

    An image that ends the process which prepares it is refused. Raises `UserError` where it is no image that
    ends the processes.
    """
    parts = cut(rows)
    first = list(islice(parts, 2))
    jobs = (
        # Rows that are refused for one reason at one place may fill several parts, which are alike then.
        Job(prepare, (part, task), folder / f"{number}-{chunk_name(part, task)}", refused)
        for number, part in enumerate(chain(first, parts))
    )
    with open_executor(executor, several_jobs=len(first) > 1) as opened:
        try:
            for path, _ in ordered_results(((job, is_whole(job.path)) for job in jobs), opened):
                yield path
        except WorkerKilled:
            raise UserError(
                "the process that prepares images was killed several times, by none of them but for lack of "
                "memory perhaps: look why, and type the same command again, which resumes"
            ) from None
