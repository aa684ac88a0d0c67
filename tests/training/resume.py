"""A training that is stopped within an epoch, and then resumed."""

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from operations import WAITS, Operations
from pipeline.training.shutdown import Interrupted
from pipeline.training.trainer import Trainer


def assert_resumes(
    run: Callable[[], bytes], steps: int, monkeypatch: pytest.MonkeyPatch, stops: Sequence[int] = (2,)
) -> set[str]:
    """Checks that `run`, a training of so many `steps`, returns the same bytes if it is stopped in the steps
    `stops`, and that no step waits for the device. Returns the operations of a step."""
    step, seen, taken = Trainer.train_step, Operations(), 0

    def watched(trainer: Trainer, *arguments: Any) -> torch.Tensor:
        with seen:
            return step(trainer, *arguments)

    monkeypatch.setattr(Trainer, "train_step", watched)
    undisturbed = run()
    assert seen.names & WAITS == set()

    def stopping(trainer: Trainer, *arguments: Any) -> torch.Tensor:
        nonlocal taken
        taken += 1
        if taken in stops:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(trainer, *arguments)

    monkeypatch.setattr(Trainer, "train_step", stopping)
    for _ in stops:
        with pytest.raises(Interrupted):
            run()
    assert run() == undisturbed
    assert taken == steps
    return seen.names
