"""Progress bars on a terminal; no output elsewhere."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from pipeline.runtime.console import is_interactive, terminal

Item = TypeVar("Item")


def counted(items: Iterable[Item], title: str, total: int | None = None) -> Iterator[Item]:
    """Yields `items` and shows their number and rate on a terminal, and with a `total` the remaining time."""
    left = (TimeRemainingColumn(),) if total else (TimeElapsedColumn(),)
    with _bar(SpinnerColumn(), *left) as progress:
        task = progress.add_task(title, total=total)
        for item in items:
            yield item
            progress.advance(task)


@contextmanager
def measured(title: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Shows the rate and the remaining time of `total` items, of which `done` are complete.

    Yields a function that adds to the number of complete items.
    """
    with _bar(TimeRemainingColumn()) as progress:
        task = progress.add_task(title, total=total, completed=done)
        yield lambda count: progress.advance(task, count)


def _bar(*more: ProgressColumn) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate())
    return Progress(
        *columns,
        *more,
        console=terminal(stderr=True),
        transient=True,
        disable=not is_interactive(),
    )


class _Rate(TextColumn):
    """Items per second, without those that were complete before."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")
