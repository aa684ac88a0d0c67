"""Accidents that several tests share."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pipeline.training.loop import Trainer


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
