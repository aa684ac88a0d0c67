"""The optimisers, by their names in `pretrain.optimizer`."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim import SGD, AdamW, Optimizer

from pipeline.config.pretrain import PretrainParams

Groups = list[dict[str, Any]]


def _sgd(groups: Groups, params: PretrainParams, fused: bool) -> Optimizer:
    nesterov = params.momentum > 0
    return SGD(groups, lr=params.learning_rate, momentum=params.momentum, nesterov=nesterov, fused=fused)


def _adamw(groups: Groups, params: PretrainParams, fused: bool) -> Optimizer:
    return AdamW(groups, lr=params.learning_rate, fused=fused)


def _lars(groups: Groups, params: PretrainParams, _fused: bool) -> Optimizer:
    """Returns LARS: layers' rates follow the norms of their weights (You et al., arXiv 1708.03888)."""
    # Imported here, since timm is a whole library of models and few trainings need it.
    from timm.optim.lars import Lars

    # By default it only adapts the rates of groups that have weight decay.
    matrices, others = groups
    groups = [matrices | {"always_adapt": True}, others]
    lars: Optimizer = Lars(groups, lr=params.learning_rate, momentum=params.momentum)
    return lars


def _muon(groups: Groups, params: PretrainParams, _fused: bool) -> Optimizer:
    """Returns Muon, which orthogonalises each matrix's step (Jordan et al. 2024).

    Biases and norms use AdamW. Convolution kernels are flattened to matrices. Steps are scaled so that the
    learning rates of AdamW apply (Liu et al., arXiv 2502.16982).
    """
    from timm.optim.muon import Muon

    muon: Optimizer = Muon(
        groups,
        lr=params.learning_rate,
        momentum=params.momentum,
        nesterov=True,
        ns_coefficients="original",
        adjust_lr_fn="match_rms_adamw",
        conv_mode="flatten",
    )
    return muon


OPTIMIZERS: dict[str, Callable[[Groups, PretrainParams, bool], Optimizer]] = {
    "sgd": _sgd,
    "adamw": _adamw,
    "lars": _lars,
    "muon": _muon,
}


def build_optimizer(
    parameters: Iterable[Parameter], params: PretrainParams, device: torch.device
) -> Optimizer:
    """Builds the optimiser, without weight decay for biases and norms.

    On CUDA, SGD and AdamW use one fused kernel for all parameters.
    """
    parameters = list(parameters)
    groups: Groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": params.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return OPTIMIZERS[params.optimizer](groups, params, device.type == "cuda")
