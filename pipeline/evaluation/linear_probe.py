"""Common part of the protocols: a linear layer on frozen, standardised features.

Each protocol chooses one hyperparameter on held-out train rows. The test images are used once, at the end,
and no protocol sees them. Shape letters: N images, D features, C classes.
"""

import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.config.evaluate import EvaluateParams
from pipeline.runtime.magnitude import power_of_two

CONSTANT = 1e-6
"""Deviation, as a share of the largest magnitude, below which a feature varies only by rounding."""
IMAGES_PER_FEATURE = 4
"""Number of images per feature that an encoder was trained on from which each feature is divided by its own
deviation (docs/log.md)."""
ENOUGH_ROWS = 500
"""Number of held-out rows that is enough for a choice; if one part of train has fewer, more are held out."""


@dataclass(frozen=True)
class LinearProbe:
    """A linear layer on standardised features, and its chosen hyperparameter."""

    mean_D: Tensor
    std_D: Tensor
    weights_DC: Tensor
    bias_C: Tensor
    strength: float | None = None
    """Strength of the regularisation."""
    learning_rate: float | None = None
    selection_top1: float | None = None
    """Accuracy of the chosen hyperparameter on the held-out rows; None without such rows."""
    selection_rows: int = 0

    def logits(self, features_ND: Tensor) -> Tensor:
        return (features_ND - self.mean_D) / self.std_D @ self.weights_DC + self.bias_C


class Protocol(typing.Protocol):
    def __call__(
        self,
        features_ND: Tensor,
        classes_N: Tensor,
        class_count: int,
        params: EvaluateParams,
        seed: int,
        *,
        own_deviations: bool = True,
    ) -> LinearProbe:
        """Fits a probe on train features; for `own_deviations` see `standardisation`."""


def standardisation(features_ND: Tensor, *, own_deviations: bool = True) -> tuple[Tensor, Tensor]:
    """Returns mean and deviation (D,) of the features, for their standardisation.

    Without `own_deviations` all features have the root mean square of theirs. That is for encoders that were
    trained on few images: on these images, some features hardly vary that vary much on others, and division
    by their deviations would let them outweigh all others. Held-out train images do not show it.
    """
    scale_1D = power_of_two(features_ND, 0 if own_deviations else (0, 1)).expand(1, features_ND.shape[1])
    scaled_ND = features_ND / scale_1D
    std_D = scaled_ND.std(dim=0, correction=0)
    if not own_deviations:
        std_D = std_D.square().mean().sqrt().expand_as(std_D)
    # A constant feature must not be divided by its zero deviation.
    std_D = torch.where(std_D > CONSTANT, std_D, 1.0)
    return scaled_ND.mean(dim=0) * scale_1D[0], std_D * scale_1D[0]


@dataclass(frozen=True)
class Choice:
    position: int
    """Index among the candidates."""
    top1: float | None
    """Accuracy on the held-out rows; None without such rows."""
    rows: int
    """Number of held-out rows."""


def choose(
    candidates: int,
    fit: Callable[[Tensor, Tensor], Sequence[LinearProbe]],
    features_ND: Tensor,
    classes_N: Tensor,
    fraction: float,
    seed: int,
    on_few_rows: Callable[[np.ndarray], int],
) -> Choice:
    """Chooses among K `candidates`, which `fit` returns from strong to weak regularisation.

    The choice has the highest accuracy on held-out rows; ties go to the strongest. One part of train is held
    out if it has `ENOUGH_ROWS`. Otherwise, the parts are held out in turn, as in cross-validation, until
    there are enough rows or each row was held out once. If there are still too few, `on_few_rows` chooses
    from a matrix (R, K) of which of the R rows each candidate classifies correctly. Without any held-out row,
    the choice is the weakest.
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
    """Returns the last candidate within one standard error of the best.

    Few rows contain hardly any of the rare classes, which hides the cost of a strong regularisation that only
    predicts the frequent classes; one that is too weak costs little. The error is that of a paired difference
    (McNemar 1947): the square root of the number of rows on which two candidates differ.
    """
    correct_K = correct_RK.sum(axis=0)
    best = int(correct_K.argmax())
    differing_K = (correct_RK != correct_RK[:, [best]]).sum(axis=0)
    return int(np.flatnonzero(correct_K[best] - correct_K <= np.sqrt(differing_K))[-1])


def weakest_of_equals(correct_RK: np.ndarray) -> int:
    """Returns the last of the candidates with the highest accuracy."""
    correct_K = correct_RK.sum(axis=0)
    return int(np.flatnonzero(correct_K == correct_K.max())[-1])


def held_out_parts(classes_N: Tensor, fraction: float, seed: int) -> Iterator[Tensor]:
    """Yields masks (N,) of disjoint parts of the rows, each with `fraction` of every class, rounded.

    A row is held out only if another row of its class remains to fit, so the only row of a class is never
    held out. Every other row is in exactly one part. `seed` determines the order of the rows of a class.
    """
    classes = classes_N.cpu().numpy()
    drawn = np.random.default_rng(seed).permutation(len(classes))
    by_class = drawn[np.argsort(classes[drawn], kind="stable")]
    parts = max(2, round(1 / fraction))
    part_of = np.empty(len(classes), np.int64)
    for number, rows in enumerate(np.split(by_class, np.bincount(classes).cumsum()[:-1])):
        ends = np.round(np.arange(1, parts) * len(rows) / parts)
        place_N = np.searchsorted(ends, np.arange(len(rows)), side="right")
        # Small classes start at different parts; otherwise their rows would all be in the same few parts.
        part_of[rows] = place_N if len(rows) >= parts else (place_N + number) % parts
    for part in range(parts):
        held = part_of == part
        held &= np.isin(classes, classes[~held])
        if held.any():
            yield torch.from_numpy(held).to(classes_N.device)


def labelled_mask(classes_N: Tensor, fraction: float, seed: int) -> Tensor:
    """Returns a mask of `fraction` of the rows of each class, rounded, at least one.

    With the same seed, a larger fraction includes the rows of a smaller one.
    """
    classes = classes_N.cpu().numpy()
    order = np.random.default_rng(seed).permutation(len(classes))
    taken = np.zeros(len(classes), bool)
    for value in np.unique(classes):
        rows = order[classes[order] == value]
        taken[rows[: max(round(len(rows) * fraction), 1)]] = True
    return torch.from_numpy(taken).to(classes_N.device)


def _correct(probe: LinearProbe, features_ND: Tensor, classes_N: Tensor) -> np.ndarray:
    """Returns (N,) bool."""
    correct: np.ndarray = (probe.logits(features_ND).argmax(dim=1) == classes_N).cpu().numpy()
    return correct
