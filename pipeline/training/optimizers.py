"""The optimisers by the names that `pretrain.optimizer` takes."""

from collections.abc import Callable, Iterable

import torch
from torch.nn import Parameter
from torch.optim import SGD, AdamW, Optimizer

from pipeline.training.params import PretrainParams


def _sgd(parameters: Iterable[Parameter], params: PretrainParams, fused: bool) -> Optimizer:
    return SGD(
        parameters,
        lr=params.learning_rate,
        momentum=params.momentum,
        nesterov=params.momentum > 0,
        weight_decay=params.weight_decay,
        fused=fused,
    )


def _adamw(parameters: Iterable[Parameter], params: PretrainParams, fused: bool) -> Optimizer:
    return AdamW(parameters, lr=params.learning_rate, weight_decay=params.weight_decay, fused=fused)


OPTIMIZERS: dict[str, Callable[[Iterable[Parameter], PretrainParams, bool], Optimizer]] = {
    "sgd": _sgd,
    "adamw": _adamw,
}


def build_optimizer(
    parameters: Iterable[Parameter], params: PretrainParams, device: torch.device
) -> Optimizer:
    """Fused on CUDA: one kernel for all parameters."""
    return OPTIMIZERS[params.optimizer](parameters, params, device.type == "cuda")
