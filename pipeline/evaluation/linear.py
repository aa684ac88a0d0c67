"""What the protocols of `evaluate.protocol` share: a linear layer on frozen, standardised features.

Each chooses one number on a part of train; test is used once, at the end, and no protocol sees it.
Shape letters: N images, D features, C classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.evaluation.params import EvaluateParams


@dataclass(frozen=True)
class LinearProbe:
    """Logits of standardised features, and the number that its protocol chose."""

    mean_D: Tensor
    deviation_D: Tensor
    weights_DC: Tensor
    bias_C: Tensor
    strength: float | None = None
    """Of the regularisation."""
    learning_rate: float | None = None
    selection_top1: float | None = None
    """With this number, on the rows that it was chosen on."""

    def logits(self, features_ND: Tensor) -> Tensor:
        return (features_ND - self.mean_D) / self.deviation_D @ self.weights_DC + self.bias_C


Protocol = Callable[[Tensor, Tensor, int, EvaluateParams, int], LinearProbe]
"""Train features (N, D), their classes (N,), the number of classes, the choices and a seed -> a probe."""


def standardisation(features_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Each feature's mean and deviation (D,), by which a protocol standardises the rows that it fits."""
    deviation_D = features_ND.std(dim=0, correction=0)
    # A feature that never changes says nothing, and must not be divided by its zero deviation.
    return features_ND.mean(dim=0), torch.where(deviation_D > 1e-6, deviation_D, 1.0)


def selection_masks(classes_N: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """The rows that are fitted while a protocol chooses its number, and those on which it chooses."""
    held_N = stratified_mask(classes_N, fraction, seed)
    # Where no class can spare an image, the number is chosen on the rows that are fitted.
    return ~held_N, held_N if held_N.any() else ~held_N


def most_accurate(probes: Sequence[LinearProbe], features_ND: Tensor, classes_N: Tensor) -> tuple[int, float]:
    """The position of the probe that names most rows rightly, the first of equals, and their share."""
    correct = [_accuracy(probe, features_ND, classes_N) for probe in probes]
    best = max(range(len(probes)), key=correct.__getitem__)
    return best, correct[best]


def stratified_mask(classes_N: Tensor, fraction: float, seed: int) -> Tensor:
    """True for `fraction` of the rows of each class, rounded, but never for all of them."""
    return _first_of_each_class(classes_N, seed, lambda rows: min(round(rows * fraction), rows - 1))


def labelled_mask(classes_N: Tensor, fraction: float, seed: int) -> Tensor:
    """True for `fraction` of the rows of each class, rounded, but for at least one.

    With the same seed the rows of a smaller fraction are among those of a larger one.
    """
    return _first_of_each_class(classes_N, seed, lambda rows: max(round(rows * fraction), 1))


def _first_of_each_class(classes_N: Tensor, seed: int, taken_of: Callable[[int], int]) -> Tensor:
    """True for the first `taken_of(its rows)` rows of each class, in an order drawn by `seed`."""
    classes = classes_N.cpu().numpy()
    order = np.random.default_rng(seed).permutation(len(classes))
    taken = np.zeros(len(classes), bool)
    for value in np.unique(classes):
        rows = order[classes[order] == value]
        taken[rows[: taken_of(len(rows))]] = True
    return torch.from_numpy(taken).to(classes_N.device)


def _accuracy(probe: LinearProbe, features_ND: Tensor, classes_N: Tensor) -> float:
    return float((probe.logits(features_ND).argmax(dim=1) == classes_N).float().mean())
