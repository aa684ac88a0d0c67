"""What the protocols of `evaluate.protocol` share: a linear layer on frozen, standardised features.

Each chooses one hyperparameter on train rows that are held out; test is used once, at the end, and no
protocol sees it. Shape letters: N images, D features, C classes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.config.evaluate import EvaluateParams
from pipeline.magnitude import power_of_two

CONSTANT = 1e-6
"""A feature whose deviation is a smaller share of its largest magnitude differs by rounding alone."""
ENOUGH_ROWS = 500
"""So many held-out rows choose well; where one part of train has fewer, others are held out in turn."""


@dataclass(frozen=True)
class LinearProbe:
    """Logits of standardised features, and the number that its protocol chose."""

    mean_D: Tensor
    std_D: Tensor
    weights_DC: Tensor
    bias_C: Tensor
    strength: float | None = None
    """Of the regularisation."""
    learning_rate: float | None = None
    selection_top1: float | None = None
    """Accuracy with the chosen hyperparameter on the held-out rows; None where there are none."""
    selection_rows: int = 0

    def logits(self, features_ND: Tensor) -> Tensor:
        return (features_ND - self.mean_D) / self.std_D @ self.weights_DC + self.bias_C


Protocol = Callable[[Tensor, Tensor, int, EvaluateParams, int], LinearProbe]
"""Train features (N, D), their classes (N,), the number of classes, the choices and a seed -> a probe."""


def standardisation(features_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Each feature's mean and deviation (D,), by which a protocol standardises the rows that it fits."""
    scale_1D = power_of_two(features_ND, 0)
    scaled_ND = features_ND / scale_1D
    std_D = scaled_ND.std(dim=0, correction=0)
    # A feature that never changes says nothing, and must not be divided by its zero deviation.
    std_D = torch.where(std_D > CONSTANT, std_D, 1.0)
    return scaled_ND.mean(dim=0) * scale_1D[0], std_D * scale_1D[0]


@dataclass(frozen=True)
class Choice:
    position: int
    """Among the candidates."""
    top1: float | None
    """Its accuracy on the held-out rows; None where there are none."""
    rows: int
    """How many were held out."""


def choose(
    candidates: int,
    fit: Callable[[Tensor, Tensor], Sequence[LinearProbe]],
    features_ND: Tensor,
    classes_N: Tensor,
    fraction: float,
    seed: int,
    on_few_rows: Callable[[np.ndarray], int],
) -> Choice:
    """Which of the K `candidates` to prefer: the probes that `fit` gives, from strong to weak regularisation.

    It is the one with the highest accuracy on held-out rows, of equals the strongest. One part of train is
    held out where it has `ENOUGH_ROWS`. Otherwise the parts are held out in turn, as in cross-validation,
    until there are so many or each row was held out once; of fewer, `on_few_rows` chooses by the matrix
    (R, K) of which of the R rows each candidate classifies correctly. Where no row can be held out, it is the
    weakest.
    """
    parts: list[np.ndarray] = []
    for held_N in held_out_parts(classes_N, fraction, seed):
        if sum(map(len, parts)) >= ENOUGH_ROWS:
            break
        probes = fit(features_ND[~held_N], classes_N[~held_N])
        correct = [_correct(probe, features_ND[held_N], classes_N[held_N]) for probe in probes]
        parts.append(np.stack(correct, axis=1))
    if not parts:
        return Choice(candidates - 1, None, 0)
    correct_RK = np.concatenate(parts)
    enough = len(correct_RK) >= ENOUGH_ROWS
    best = int(correct_RK.sum(axis=0).argmax()) if enough else on_few_rows(correct_RK)
    return Choice(best, float(correct_RK[:, best].mean()), len(correct_RK))


def weakest_within_an_error(correct_RK: np.ndarray) -> int:
    """The last candidate that is worse than the best one by at most a standard error.

    Few rows hold hardly any of the rare classes, so they hide the cost of a strong regularisation, which
    predicts the frequent classes alone; one that is too weak costs little. The error is that of a paired
    difference (McNemar 1947): the root of the number of rows on which two candidates differ.
    """
    correct_K = correct_RK.sum(axis=0)
    best = int(correct_K.argmax())
    differing_K = (correct_RK != correct_RK[:, [best]]).sum(axis=0)
    return int(np.flatnonzero(correct_K[best] - correct_K <= np.sqrt(differing_K))[-1])


def weakest_of_equals(correct_RK: np.ndarray) -> int:
    """The last of the candidates with the highest accuracy."""
    correct_K = correct_RK.sum(axis=0)
    return int(np.flatnonzero(correct_K == correct_K.max())[-1])


def held_out_parts(classes_N: Tensor, fraction: float, seed: int) -> Iterator[Tensor]:
    """Masks (N,) of disjoint parts of the rows, each with `fraction` of every class, rounded.

    A row is held out only where another one of its class is left to fit, so the only row of a class never is.
    All other rows are in one of the parts. The order of a class's rows is drawn by `seed`.
    """
    classes = classes_N.cpu().numpy()
    drawn = np.random.default_rng(seed).permutation(len(classes))
    by_class = drawn[np.argsort(classes[drawn], kind="stable")]
    parts = max(2, round(1 / fraction))
    part_of = np.empty(len(classes), np.int64)
    for number, rows in enumerate(np.split(by_class, np.bincount(classes).cumsum()[:-1])):
        ends = np.round(np.arange(1, parts) * len(rows) / parts)
        own = np.searchsorted(ends, np.arange(len(rows)), side="right")
        # Small classes start at different parts; otherwise all of their rows would be in the same few.
        part_of[rows] = own if len(rows) >= parts else (own + number) % parts
    for part in range(parts):
        held = part_of == part
        held &= np.isin(classes, classes[~held])
        if held.any():
            yield torch.from_numpy(held).to(classes_N.device)


def labelled_mask(classes_N: Tensor, fraction: float, seed: int) -> Tensor:
    """True for `fraction` of the rows of each class, rounded, but for at least one.

    With the same seed the rows of a smaller fraction are among those of a larger one.
    """
    classes = classes_N.cpu().numpy()
    order = np.random.default_rng(seed).permutation(len(classes))
    taken = np.zeros(len(classes), bool)
    for value in np.unique(classes):
        rows = order[classes[order] == value]
        taken[rows[: max(round(len(rows) * fraction), 1)]] = True
    return torch.from_numpy(taken).to(classes_N.device)


def _correct(probe: LinearProbe, features_ND: Tensor, classes_N: Tensor) -> np.ndarray:
    """(N,) bool."""
    correct: np.ndarray = (probe.logits(features_ND).argmax(dim=1) == classes_N).cpu().numpy()
    return correct
