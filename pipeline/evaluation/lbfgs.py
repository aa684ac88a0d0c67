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
ITERATIONS = 60
"""For each strength."""
CURVATURE = 0.2
"""Of the cross-entropy along a feature of variance 1, roughly: p (1 - p) is 0.25 at most."""


def fit_by_lbfgs(
    features_ND: Tensor, classes_N: Tensor, class_count: int, params: EvaluateParams, seed: int
) -> LinearProbe:
    """Chooses the strength by accuracy on a stratified `selection_fraction`, then fits on all rows.

    The loss is the mean cross-entropy plus strength / 2 times the squared weights (bias excepted).
    """
    fitted_N, held_N = selection_masks(classes_N, params.selection_fraction, seed)
    path = _Problem(features_ND[fitted_N], classes_N[fitted_N], class_count).path(STRENGTHS)
    # Of equals the first: the strongest regularisation that does as well.
    best, selection_top1 = most_accurate(path, features_ND[held_N], classes_N[held_N])
    # The last of the strengths before it bring the weights near, the chosen one ends the way.
    whole = _Problem(features_ND, classes_N, class_count).path(STRENGTHS[max(best - 2, 0) : best + 1])
    return replace(whole[-1], selection_top1=selection_top1)


class _Problem:
    """Rows to fit, turned to their principal axes.

    Along them the curvature of the loss is roughly known beforehand: it grows with an axis' variance, and
    the strength adds to it. Divided by its root, the problem is about as steep in every direction. Variances
    of an encoder's features span orders of magnitude; there plain L-BFGS, given a weak strength, is far from
    the minimum after a thousand iterations.
    """

    def __init__(self, features_ND: Tensor, classes_N: Tensor, class_count: int) -> None:
        self.mean_D, self.deviation_D = standardisation(features_ND)
        standard_ND = (features_ND - self.mean_D) / self.deviation_D
        covariance_DD = (standard_ND.T @ standard_ND).double() / len(standard_ND)
        variance_D, axes_DD = torch.linalg.eigh(covariance_DD)
        self.variance_D, self.axes_DD = variance_D.clamp(min=0).float(), axes_DD.float()
        self.turned_ND = standard_ND @ self.axes_DD
        self.classes_N, self.class_count = classes_N, class_count

    def path(self, strengths: tuple[float, ...]) -> list[LinearProbe]:
        weights_DC = self.turned_ND.new_zeros(self.turned_ND.shape[1], self.class_count)
        bias_C = self.turned_ND.new_zeros(self.class_count)
        probes = []
        for strength in strengths:
            weights_DC, bias_C = self._minimised(weights_DC, bias_C, strength)
            turned_back_DC = self.axes_DD @ weights_DC
            probes.append(
                LinearProbe(self.mean_D, self.deviation_D, turned_back_DC, bias_C, strength=strength)
            )
        return probes

    def _minimised(self, weights_DC: Tensor, bias_C: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        scale_D = (CURVATURE * self.variance_D + strength).rsqrt()
        scaled_ND = self.turned_ND * scale_D
        free_DC = (weights_DC / scale_D[:, None]).requires_grad_()
        bias_C = bias_C.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [free_DC, bias_C], max_iter=ITERATIONS, tolerance_change=1e-6, line_search_fn="strong_wolfe"
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss: Tensor = functional.cross_entropy(torch.addmm(bias_C, scaled_ND, free_DC), self.classes_N)
            loss = loss + strength / 2 * (scale_D[:, None] * free_DC).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return free_DC.detach() * scale_D[:, None], bias_C.detach()
