"""`evaluate.protocol=lbfgs`: multinomial logistic regression, fitted until it no longer changes.

It chooses the strength of the regularisation. Shape letters: N images, D features, C classes.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.evaluation.linear import LinearProbe, most_accurate, selection_masks, standardisation
from pipeline.evaluation.params import EvaluateParams

STRENGTHS = tuple(10.0 ** (-halves / 2) for halves in range(13))
"""Tried from strong to weak: each starts where the one before ended."""
ITERATIONS = 100


def fit_by_lbfgs(
    features_ND: Tensor, classes_N: Tensor, class_count: int, params: EvaluateParams, seed: int
) -> LinearProbe:
    """Chooses the strength by accuracy on a stratified `selection_fraction`, then fits on all rows.

    The loss is the mean cross-entropy plus strength / 2 times the squared weights (bias excepted).
    """
    fitted_N, held_N = selection_masks(classes_N, params.selection_fraction, seed)
    path = _fit_path(features_ND[fitted_N], classes_N[fitted_N], class_count, STRENGTHS)
    # Of equals the first: the strongest regularisation that does as well.
    best, selection_top1 = most_accurate(path, features_ND[held_N], classes_N[held_N])
    probe = _fit_path(features_ND, classes_N, class_count, STRENGTHS[: best + 1])[-1]
    return replace(probe, selection_top1=selection_top1)


def _fit_path(
    features_ND: Tensor, classes_N: Tensor, class_count: int, strengths: tuple[float, ...]
) -> list[LinearProbe]:
    mean_D, deviation_D = standardisation(features_ND)
    standard_ND = (features_ND - mean_D) / deviation_D
    weights_DC = torch.zeros(features_ND.shape[1], class_count, device=features_ND.device, requires_grad=True)
    bias_C = torch.zeros(class_count, device=features_ND.device, requires_grad=True)
    probes = []
    for strength in strengths:
        _minimise(standard_ND, classes_N, weights_DC, bias_C, strength)
        fitted = weights_DC.detach().clone(), bias_C.detach().clone()
        probes.append(LinearProbe(mean_D, deviation_D, *fitted, strength=strength))
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
