"""Signal handlers are restored after each test, and an accident that several tests share."""

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from pipeline.training.trainer import Trainer


@pytest.fixture(autouse=True)
def _restored_handlers() -> Iterator[None]:
    """A training in this process sets its own."""
    before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    yield
    for number, handler in before:
        signal.signal(number, handler)


@pytest.fixture
def power_cut(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Called with an epoch and a step, both from 0: there, once, training ends in an error."""

    def cut_at(epoch: int, step: int) -> None:
        train_step = Trainer.train_step

        def failing(trainer: Trainer, *arguments: Any) -> torch.Tensor:
            if (trainer.progress.epoch, trainer.progress.step) == (epoch, step):
                monkeypatch.setattr(Trainer, "train_step", train_step)
                raise RuntimeError("power cut")
            return train_step(trainer, *arguments)

        monkeypatch.setattr(Trainer, "train_step", failing)

    return cut_at
