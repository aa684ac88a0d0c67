"""`evaluate.protocol=lbfgs`: multinomial logistic regression, fitted to convergence.

The hyperparameter is the strength of the regularisation. Shape letters: N images, D features,
A principal axes, C classes.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.config.evaluate import EvaluateParams
from pipeline.evaluation.linear_probe import LinearProbe, choose, standardisation, weakest_within_an_error

STRENGTHS = tuple(10.0 ** (-halves / 2) for halves in range(13))
"""Strengths from strong to weak: each fit starts from the previous solution."""
ITERATIONS = 60
"""Maximum number of iterations for each strength."""
CURVATURE = 0.2
"""Approximate curvature of the cross-entropy along a feature of variance 1: p (1 - p) is at most 0.25."""


def fit_by_lbfgs(
    features_ND: Tensor,
    classes_N: Tensor,
    class_count: int,
    params: EvaluateParams,
    seed: int,
    *,
    own_deviations: bool = True,
) -> LinearProbe:
    """Chooses the strength by accuracy on held-out rows of train, then fits on all rows.

    The loss is the mean cross-entropy plus strength / 2 times the squared weights (without the bias).
    """

    def path(some_ND: Tensor, their_classes_N: Tensor) -> list[LinearProbe]:
        return _Problem(some_ND, their_classes_N, class_count, own_deviations).path(STRENGTHS)

    choice = choose(
        len(STRENGTHS),
        path,
        features_ND,
        classes_N,
        params.selection_fraction,
        seed,
        weakest_within_an_error,
    )
    # Warm start from the two strengths before the chosen one.
    ending = STRENGTHS[max(choice.position - 2, 0) : choice.position + 1]
    probe = _Problem(features_ND, classes_N, class_count, own_deviations).path(ending)[-1]
    return replace(probe, selection_top1=choice.top1, selection_rows=choice.rows)


class _Problem:
    """Rows to fit, rotated to their principal axes.

    The curvature of the loss along an axis is about proportional to the variance, plus the strength. Scaling
    by its square root makes the problem about equally steep in all directions. Variances of features span
    orders of magnitude: without the scaling, L-BFGS with a weak strength is far from the minimum after a
    thousand iterations.
    """

    def __init__(
        self, features_ND: Tensor, classes_N: Tensor, class_count: int, own_deviations: bool
    ) -> None:
        self.mean_D, self.std_D = standardisation(features_ND, own_deviations=own_deviations)
        standard_ND = (features_ND - self.mean_D) / self.std_D
        self.variance_A, self.axes_DA = _principal_axes(standard_ND)
        self.rotated_NA = standard_ND @ self.axes_DA
        self.classes_N, self.class_count = classes_N, class_count

    def path(self, strengths: tuple[float, ...]) -> list[LinearProbe]:
        weights_AC = self.rotated_NA.new_zeros(self.rotated_NA.shape[1], self.class_count)
        bias_C = self.rotated_NA.new_zeros(self.class_count)
        probes = []
        for strength in strengths:
            weights_AC, bias_C = self._minimised(weights_AC, bias_C, strength)
            weights_DC = self.axes_DA @ weights_AC
            probes.append(LinearProbe(self.mean_D, self.std_D, weights_DC, bias_C, strength=strength))
        return probes

    def _minimised(self, weights_AC: Tensor, bias_C: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        scale_A = (CURVATURE * self.variance_A + strength).rsqrt()
        scaled_NA = self.rotated_NA * scale_A
        free_AC = (weights_AC / scale_A[:, None]).requires_grad_()
        bias_C = bias_C.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [free_AC, bias_C], max_iter=ITERATIONS, tolerance_change=1e-6, line_search_fn="strong_wolfe"
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss: Tensor = functional.cross_entropy(torch.addmm(bias_C, scaled_NA, free_AC), self.classes_N)
            loss = loss + strength / 2 * (scale_A[:, None] * free_AC).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return free_AC.detach() * scale_A[:, None], bias_C.detach()


def _principal_axes(standard_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the variances (A,) along the principal axes, and the axes (D, A), at most as many as rows."""
    if len(standard_ND) < standard_ND.shape[1]:
        # Weights outside the span of the rows would converge to zero.
        _, lengths_A, axes_AD = torch.linalg.svd(standard_ND.double(), full_matrices=False)
        return (lengths_A.square() / len(standard_ND)).float(), axes_AD.T.float()
    covariance_DD = (standard_ND.T @ standard_ND).double() / len(standard_ND)
    variance_D, axes_DD = torch.linalg.eigh(covariance_DD)
    return variance_D.clamp(min=0).float(), axes_DD.float()
