"""Linear probe: multinomial logistic regression on frozen features.

The strength of the regularisation is chosen on a part of train; test is used once, at the end.
Shape letters: N images, D features, C classes, S strengths.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

STRENGTHS = tuple(10.0 ** (-halves / 2) for halves in range(13))
"""Tried from strong to weak: each starts where the one before ended."""
ITERATIONS = 100


@dataclass(frozen=True)
class LinearProbe:
    """Logits of standardised features."""

    mean_D: Tensor
    deviation_D: Tensor
    weights_DC: Tensor
    bias_C: Tensor
    strength: float

    def logits(self, features_ND: Tensor) -> Tensor:
        return (features_ND - self.mean_D) / self.deviation_D @ self.weights_DC + self.bias_C


def fit_probe(
    features_ND: Tensor, classes_N: Tensor, class_count: int, selection_fraction: float, seed: int
) -> LinearProbe:
    """Chooses the strength by accuracy on a stratified `selection_fraction`, then fits on all rows.

    The loss is the mean cross-entropy plus strength / 2 times the squared weights (bias excepted).
    """
    held_N = stratified_mask(classes_N, selection_fraction, seed)
    # Where no class can spare an image, the strength is chosen on the rows that are fitted.
    fitted_N = ~held_N
    held_N = held_N if held_N.any() else fitted_N
    path = _fit_path(features_ND[fitted_N], classes_N[fitted_N], class_count, STRENGTHS)
    correct = [_accuracy(probe, features_ND[held_N], classes_N[held_N]) for probe in path]
    # max takes the first of equals: the strongest regularisation that does as well.
    best = max(range(len(path)), key=correct.__getitem__)
    return _fit_path(features_ND, classes_N, class_count, STRENGTHS[: best + 1])[-1]


def stratified_mask(classes_N: Tensor, fraction: float, seed: int) -> Tensor:
    """True for `fraction` of the rows of each class, rounded, but never for all of them."""
    classes = classes_N.cpu().numpy()
    order = np.random.default_rng(seed).permutation(len(classes))
    held = np.zeros(len(classes), bool)
    for value in np.unique(classes):
        rows = order[classes[order] == value]
        held[rows[: min(round(len(rows) * fraction), len(rows) - 1)]] = True
    return torch.from_numpy(held).to(classes_N.device)


def _fit_path(
    features_ND: Tensor, classes_N: Tensor, class_count: int, strengths: tuple[float, ...]
) -> list[LinearProbe]:
    mean_D = features_ND.mean(dim=0)
    deviation_D = features_ND.std(dim=0, correction=0)
    # A feature that never changes says nothing, and must not be divided by its zero deviation.
    deviation_D = torch.where(deviation_D > 1e-6, deviation_D, 1.0)
    standard_ND = (features_ND - mean_D) / deviation_D
    weights_DC = torch.zeros(features_ND.shape[1], class_count, device=features_ND.device, requires_grad=True)
    bias_C = torch.zeros(class_count, device=features_ND.device, requires_grad=True)
    probes = []
    for strength in strengths:
        _minimise(standard_ND, classes_N, weights_DC, bias_C, strength)
        fitted = weights_DC.detach().clone(), bias_C.detach().clone()
        probes.append(LinearProbe(mean_D, deviation_D, *fitted, strength))
    return probes


def _minimise(
    standard_ND: Tensor, classes_N: Tensor, weights_DC: Tensor, bias_C: Tensor, strength: float
) -> None:
    optimizer = torch.optim.LBFGS(
        [weights_DC, bias_C], max_iter=ITERATIONS, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(torch.addmm(bias_C, standard_ND, weights_DC), classes_N)
        loss = loss + strength / 2 * weights_DC.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)


def _accuracy(probe: LinearProbe, features_ND: Tensor, classes_N: Tensor) -> float:
    return float((probe.logits(features_ND).argmax(dim=1) == classes_N).float().mean())
