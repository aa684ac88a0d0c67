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


def _lars(parameters: Iterable[Parameter], params: PretrainParams, _fused: bool) -> Optimizer:
    """Layers' rates follow the norms of their weights (You et al., arXiv 1708.03888).

    Biases and batch norms have neither decay nor an own rate, as SimCLR has it.
    """
    # Imported here: it brings a library of models with it, and few trainings need it.
    from timm.optim.lars import Lars

    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": params.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    lars: Optimizer = Lars(groups, lr=params.learning_rate, momentum=params.momentum)
    return lars


OPTIMIZERS: dict[str, Callable[[Iterable[Parameter], PretrainParams, bool], Optimizer]] = {
    "sgd": _sgd,
    "adamw": _adamw,
    "lars": _lars,
}


def build_optimizer(
    parameters: Iterable[Parameter], params: PretrainParams, device: torch.device
) -> Optimizer:
    """Fused on CUDA where there is such a kernel: one for all parameters."""
    return OPTIMIZERS[params.optimizer](parameters, params, device.type == "cuda")
