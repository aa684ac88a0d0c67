"""`evaluate.protocol=sgd`: a linear layer by stochastic gradient descent, as in the papers.

The papers train on augmented images; here the features of the central views are computed once, so that
fitting takes seconds. The hyperparameter is the learning rate, which the papers choose on test or not at all.
Shape letters: N images, B of them per batch, D features and a 1 for the bias, C classes, R learning rates.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.config.evaluate import EvaluateParams, SgdParams
from pipeline.evaluation.linear_probe import LinearProbe, choose, standardisation, weakest_of_equals
from pipeline.runtime.errors import UserError
from pipeline.runtime.seeding import numpy_generator

MOMENTUM = 0.9
MOST_STEPS = 10**8
"""Maximum number of steps; at a thousand per second they take a day."""
FACTORS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Factors of `evaluate.sgd.learning_rate`, from small to large; most are below 1, because standardised
features need smaller rates than the papers' 0.3."""


def fit_by_sgd(
    features_ND: Tensor,
    classes_N: Tensor,
    class_count: int,
    params: EvaluateParams,
    seed: int,
    *,
    own_deviations: bool = True,
) -> LinearProbe:
    """Chooses the learning rate by accuracy on held-out rows of train, then fits on all rows.

    The loss is the mean cross-entropy, without weight decay. A small rate acts as a strong regularisation:
    the weights stay close to zero.
    """
    _check_steps(params.sgd, len(features_ND))
    rates = [params.sgd.learning_rate * factor for factor in FACTORS]

    def fit(some_ND: Tensor, their_classes_N: Tensor) -> list[LinearProbe]:
        return _fit(some_ND, their_classes_N, class_count, params.sgd, rates, seed, own_deviations)

    # A large rate also makes the last steps noisier, so it is chosen only if its accuracy is no lower.
    choice = choose(
        len(rates), fit, features_ND, classes_N, params.selection_fraction, seed, weakest_of_equals
    )
    chosen = [rates[choice.position]]
    (probe,) = _fit(features_ND, classes_N, class_count, params.sgd, chosen, seed, own_deviations)
    return replace(probe, selection_top1=choice.top1, selection_rows=choice.rows)


def _check_steps(sgd: SgdParams, rows: int) -> None:
    steps = sgd.epochs * math.ceil(rows / sgd.batch_size)
    if steps > MOST_STEPS:
        raise UserError(
            f"evaluate.sgd.epochs={sgd.epochs} on {rows:,} images, with evaluate.sgd.batch_size="
            f"{sgd.batch_size}, would be {steps:,} steps, more than {MOST_STEPS:,}: lower the epochs or "
            "raise the batch size"
        )


def _fit(
    features_ND: Tensor,
    classes_N: Tensor,
    class_count: int,
    sgd: SgdParams,
    rates: list[float],
    seed: int,
    own_deviations: bool = True,
) -> list[LinearProbe]:
    """Fits one probe per rate, all on the same batches, so that a step is one matrix product for all."""
    mean_D, std_D = standardisation(features_ND, own_deviations=own_deviations)
    # The bias is the weight of a feature that is always 1.
    inputs_ND = functional.pad((features_ND - mean_D) / std_D, (0, 1), value=1.0)
    device = inputs_ND.device
    rates_R1 = torch.tensor(rates, device=device)[:, None]
    numbers_C = torch.arange(class_count, device=device)
    weights_DRC = torch.zeros(inputs_ND.shape[1], len(rates), class_count, device=device)
    momentum_DRC = torch.zeros_like(weights_DRC)
    step, steps = 0, sgd.epochs * math.ceil(len(inputs_ND) / sgd.batch_size)
    for epoch in range(sgd.epochs):
        # Drawn on the CPU, so that the order is the same on every device.
        order = numpy_generator(seed, "epoch", epoch).permutation(len(inputs_ND))
        for rows_B in torch.from_numpy(order).to(device).split(sgd.batch_size):
            inputs_BD = inputs_ND[rows_B]
            outputs_BRC = (inputs_BD @ weights_DRC.flatten(1)).unflatten(1, (len(rates), -1)).softmax(dim=2)
            # The gradient of the cross-entropy in the logits: probabilities minus targets.
            targets_B1C = (classes_N[rows_B, None] == numbers_C)[:, None]
            error_BRC = (outputs_BRC - targets_B1C.float()) / len(rows_B)
            gradient_DRC = (inputs_BD.T @ error_BRC.flatten(1)).view_as(weights_DRC)
            momentum_DRC.mul_(MOMENTUM).add_(gradient_DRC)
            cosine = (1 + math.cos(math.pi * step / steps)) / 2
            weights_DRC.addcmul_(momentum_DRC, rates_R1, value=-cosine)
            step += 1
    return [
        LinearProbe(mean_D, std_D, weights_DC[:-1], weights_DC[-1], learning_rate=rate)
        for weights_DC, rate in zip(weights_DRC.unbind(dim=1), rates, strict=True)
    ]
