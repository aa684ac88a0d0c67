"""Progress on a terminal; silence where nobody watches."""

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
    """Yields `items` and counts them on a terminal, with their rate and, of a known total, the time left."""
    left = (TimeRemainingColumn(),) if total else (TimeElapsedColumn(),)
    with _bar(SpinnerColumn(), *left) as progress:
        task = progress.add_task(title, total=total)
        for item in items:
            yield item
            progress.advance(task)


@contextmanager
def measured(title: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Shows rate and time left of `total` items, of which `done` were made before; yields what counts on."""
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
    """Items a second, of those that are made now."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")
