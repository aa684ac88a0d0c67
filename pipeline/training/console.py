"""Progress of a training on the console: a bar on a terminal, a line per epoch elsewhere."""

import resource
import sys
import time
from typing import Self

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from pipeline.runtime.console import is_interactive, terminal


class TrainingConsole:
    """Context manager that shows the progress of the training loop.

    The loss of a step is copied to the host without waiting; the bar shows the last one that arrived.
    """

    def __init__(
        self, title: str, epochs: int, steps_per_epoch: int, images_per_step: int, done: int, speaks: bool
    ) -> None:
        self._title, self._epochs, self._steps_per_epoch = title, epochs, steps_per_epoch
        self._images_per_step = images_per_step
        # Only one of several processes prints.
        self._console = terminal(stderr=True, quiet=not speaks)
        self._interactive = speaks and is_interactive()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("loss {task.fields[loss]}  {task.fields[rate]} images/s  {task.fields[memory]}"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=self._console, disable=not self._interactive)
        self._task = self._progress.add_task(
            title, total=epochs * steps_per_epoch, completed=done, loss="...", rate="...", memory=""
        )
        self._loss = torch.zeros((), pin_memory=torch.cuda.is_available())

    def __enter__(self) -> Self:
        self._progress.start()
        self._started = self._epoch_started = time.perf_counter()
        self._steps_since_start = self._steps_in_epoch = 0
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def echo(self, line: str) -> None:
        self._progress.console.print(f"{self._title}: {line}", markup=False)

    def step(self, epoch: int, loss: Tensor) -> None:
        self._steps_since_start += 1
        self._steps_in_epoch += 1
        if self._interactive:
            self._loss.copy_(loss, non_blocking=True)
            seconds = time.perf_counter() - self._started
            self._progress.update(
                self._task,
                advance=1,
                description=f"{self._title} epoch {epoch + 1}/{self._epochs}",
                loss=f"{float(self._loss):.3f}",
                rate=f"{self._steps_since_start * self._images_per_step / seconds:,.0f}",
                memory=memory_used(),
            )

    def epoch(self, epoch: int, loss: float) -> dict[str, float]:
        """Ends an epoch; returns its timing, measured over the steps that this process ran."""
        now = time.perf_counter()
        seconds = now - self._epoch_started
        rate = self._steps_in_epoch * self._images_per_step / seconds
        if not self._interactive:
            steps_left = (self._epochs - epoch - 1) * self._steps_per_epoch
            left = (now - self._started) / max(1, self._steps_since_start) * steps_left
            self.echo(
                f"epoch {epoch + 1}/{self._epochs}  loss {loss:.4f}  {rate:,.0f} images/s  {memory_used()}  "
                f"{left // 60:.0f}:{left % 60:02.0f} left"
            )
        self._epoch_started, self._steps_in_epoch = now, 0
        return {"epoch": epoch + 1, "seconds": round(seconds, 3), "images_per_second": round(rate, 1)}


def memory_used() -> str:
    """Returns the peak memory so far: that of the GPU if there is one, else that of this process."""
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated()
    else:
        # Linux counts in units of 1024 bytes, macOS in bytes.
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return f"{peak / 1e9:.1f} GB"
