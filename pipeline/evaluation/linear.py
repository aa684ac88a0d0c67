"""What the protocols of `evaluate.protocol` share: a linear layer on frozen, standardised features.

Each chooses one number on rows of train that it does not fit; test is used once, at the end, and no protocol
sees it. Shape letters: N images, D features, C classes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.evaluation.params import EvaluateParams
from pipeline.magnitude import power_of_two

CONSTANT = 1e-6
"""A feature whose deviation is a smaller share of its largest magnitude changes by rounding alone."""
ENOUGH_ROWS = 500
"""So many choose a number well; where one part of train has fewer, further parts take their turn."""


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
    """With this number, on the rows that it was chosen on; None where there are none."""
    selection_rows: int = 0

    def logits(self, features_ND: Tensor) -> Tensor:
        return (features_ND - self.mean_D) / self.deviation_D @ self.weights_DC + self.bias_C


Protocol = Callable[[Tensor, Tensor, int, EvaluateParams, int], LinearProbe]
"""Train features (N, D), their classes (N,), the number of classes, the choices and a seed -> a probe."""


def standardisation(features_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Each feature's mean and deviation (D,), by which a protocol standardises the rows that it fits."""
    scale_1D = power_of_two(features_ND, 0)
    scaled_ND = features_ND / scale_1D
    deviation_D = scaled_ND.std(dim=0, correction=0)
    # A feature that never changes says nothing, and must not be divided by its zero deviation.
    deviation_D = torch.where(deviation_D > CONSTANT, deviation_D, 1.0)
    return scaled_ND.mean(dim=0) * scale_1D[0], deviation_D * scale_1D[0]


@dataclass(frozen=True)
class Choice:
    position: int
    """Among the candidates."""
    top1: float | None
    """Of the chosen one, on the rows that chose it; None where no row could."""
    rows: int


def choose(
    candidates: int,
    fit: Callable[[Tensor, Tensor], Sequence[LinearProbe]],
    features_ND: Tensor,
    classes_N: Tensor,
    fraction: float,
    seed: int,
    on_few_rows: Callable[[np.ndarray], int],
) -> Choice:
    """Which of the probes that `fit` makes of some rows, from strong to weak regularisation, to prefer.

    It is the one that names most of the other rows rightly: those of one part of train where they are enough,
    and of equals the strongest. Else those of one part after the other choose, as in cross-validation, each
    row once; then `on_few_rows` takes the candidate by (R, K), on which rows each is right. The weakest where
    no row can choose.
    """
    votes: list[np.ndarray] = []
    for held_N in held_out_parts(classes_N, fraction, seed):
        if sum(map(len, votes)) >= ENOUGH_ROWS:
            break
        probes = fit(features_ND[~held_N], classes_N[~held_N])
        rights = [_right(probe, features_ND[held_N], classes_N[held_N]) for probe in probes]
        votes.append(np.stack(rights, axis=1))
    if not votes:
        return Choice(candidates - 1, None, 0)
    right_RK = np.concatenate(votes)
    enough = len(right_RK) >= ENOUGH_ROWS
    best = int(right_RK.sum(axis=0).argmax()) if enough else on_few_rows(right_RK)
    return Choice(best, float(right_RK[:, best].mean()), len(right_RK))


def weakest_within_an_error(right_RK: np.ndarray) -> int:
    """The last candidate that is worse than the best one by at most a standard error.

    Of rare classes hardly a row is among few, so that these hardly show what strong regularisation costs: it
    names the frequent classes alone, while a regularisation that is too weak costs little. The error is that
    of a paired difference (McNemar 1947): the root of the number of rows on which two candidates differ.
    """
    correct_K = right_RK.sum(axis=0)
    best = int(correct_K.argmax())
    differing_K = (right_RK != right_RK[:, [best]]).sum(axis=0)
    return int(np.flatnonzero(correct_K[best] - correct_K <= np.sqrt(differing_K))[-1])


def weakest_of_equals(right_RK: np.ndarray) -> int:
    """The last of the candidates that are right most often."""
    correct_K = right_RK.sum(axis=0)
    return int(np.flatnonzero(correct_K == correct_K.max())[-1])


def held_out_parts(classes_N: Tensor, fraction: float, seed: int) -> Iterator[Tensor]:
    """Masks of disjoint parts of the rows, each with `fraction` of every class as far as that is whole.

    All parts together hold every row but those that no row of the same class is left beside: a class of one
    is always fitted. The order of a class's rows is drawn by `seed`.
    """
    classes = classes_N.cpu().numpy()
    drawn = np.random.default_rng(seed).permutation(len(classes))
    by_class = drawn[np.argsort(classes[drawn], kind="stable")]
    parts = max(2, round(1 / fraction))
    part_of = np.empty(len(classes), np.int64)
    for number, rows in enumerate(np.split(by_class, np.bincount(classes).cumsum()[:-1])):
        ends = np.round(np.arange(1, parts) * len(rows) / parts)
        own = np.searchsorted(ends, np.arange(len(rows)), side="right")
        # The rows of small classes are spread over the parts, lest all of them fall into the same few.
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


def _right(probe: LinearProbe, features_ND: Tensor, classes_N: Tensor) -> np.ndarray:
    right: np.ndarray = (probe.logits(features_ND).argmax(dim=1) == classes_N).cpu().numpy()
    return right
