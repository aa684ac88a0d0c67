"""Successive halving: short trainings of all, longer ones of the better half, until one is apart.

After Jamieson and Talwalkar (2016), "Non-stochastic best arm identification and hyperparameter optimization".
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, variance

APART = 2.0
"""Standard errors by which the leader must be ahead."""
FIRST_SHARE = 4
"""The first trainings have a quarter of the full length: in fewer steps, encoders hardly differ."""

Train = Callable[[str, int, int], float]
"""(name, epochs, seed) -> accuracy on images that were not fitted."""


@dataclass
class Round:
    """Trainings of equal length."""

    epochs: int
    accuracies: dict[str, list[float]] = field(default_factory=dict)
    """By name, one per seed."""

    @property
    def order(self) -> list[str]:
        """The names, best mean first."""
        return sorted(self.accuracies, key=lambda name: -fmean(self.accuracies[name]))

    @property
    def is_apart(self) -> bool:
        """Whether the leader's mean is ahead of the second by more than the spread of the seeds explains."""
        if len(self.accuracies) < 2:
            return True
        first, second = (self.accuracies[name] for name in self.order[:2])
        if min(len(first), len(second)) < 2:
            return False
        error = math.sqrt(variance(first) / len(first) + variance(second) / len(second))
        return fmean(first) - fmean(second) > APART * error


@dataclass
class Race:
    """Rounds of trainings within a time limit. `clock` returns seconds."""

    train: Train
    clock: Callable[[], float]
    seconds: float
    most_epochs: int
    seeds: int
    rounds: list[Round] = field(default_factory=list)
    """The finished rounds."""
    trainings: int = 0
    _seconds_per_epoch: float = 0.0
    """Of the slowest training so far."""
    _started: float = 0.0

    def run(self, names: Sequence[str]) -> None:
        """Runs rounds until one is apart, the trainings have their full length, or the time is over."""
        self._started = self.clock()
        survivors, epochs = list(names), max(1, self.most_epochs // FIRST_SHARE)
        while self._run_round(survivors, epochs):
            last = self.rounds[-1]
            if last.is_apart or epochs == self.most_epochs:
                return
            survivors = last.order[: max(2, (len(survivors) + 1) // 2)]
            longer = self._longest_epochs(len(survivors))
            if longer <= epochs:
                return
            epochs = min(longer, 2 * epochs if len(survivors) > 2 else longer)

    def _run_round(self, names: Sequence[str], epochs: int) -> bool:
        """Returns whether all trainings of the round ended in time. The first round is not cut."""
        round_ = Round(epochs, {name: [] for name in names})
        for seed in range(self.seeds):
            for name in names:
                if self.rounds and self._left < self._seconds_per_epoch * epochs:
                    return False
                before = self.clock()
                round_.accuracies[name].append(self.train(name, epochs, seed))
                self.trainings += 1
                self._seconds_per_epoch = max(self._seconds_per_epoch, (self.clock() - before) / epochs)
        self.rounds.append(round_)
        return True

    @property
    def _left(self) -> float:
        return self.seconds - (self.clock() - self._started)

    def _longest_epochs(self, survivors: int) -> int:
        """Returns the longest training for which a round fits into the time that is left."""
        if self._seconds_per_epoch <= 0:
            return self.most_epochs
        fitting = int(self._left / (self._seconds_per_epoch * survivors * self.seeds))
        return min(self.most_epochs, fitting)
