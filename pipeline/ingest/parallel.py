"""Chunks prepared by an executor, in processes that an image may crash."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from pipeline.executors.base import Job, WorkerKilled, ordered_results
from pipeline.executors.select import ExecutorName, open_executor
from pipeline.ingest.chunk_files import is_whole
from pipeline.ingest.chunks import Row, Task, chunk_name, cut, prepare_chunk, refused
from pipeline.runtime.errors import UserError

Prepare = Callable[[Sequence[Row], Task, Path], None]


def prepared_chunks(
    rows: Iterable[Row],
    task: Task,
    folder: Path,
    executor: ExecutorName = ExecutorName.LOCAL,
    prepare: Prepare = prepare_chunk,
) -> Iterator[Path]:
    """Yields the chunks of `rows` in `folder`, in order; chunks that exist already are not prepared again.

    An image that ends the process which prepares it is refused. Raises `UserError` if the processes end for
    another reason than an image.
    """
    parts = cut(rows)
    first = list(islice(parts, 2))
    jobs = (
        # Rows that are refused for one reason at one place may fill several chunks, which are then equal.
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
