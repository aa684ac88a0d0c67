"""The optimisers by the names that `pretrain.optimizer` takes."""

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
    """Layers' rates follow the norms of their weights (You et al., arXiv 1708.03888)."""
    # Imported here: it brings a library of models with it, and not every training needs it.
    from timm.optim.lars import Lars

    # Left to itself it adapts the rates of those groups alone that have weight decay.
    matrices, others = groups
    groups = [matrices | {"always_adapt": True}, others]
    lars: Optimizer = Lars(groups, lr=params.learning_rate, momentum=params.momentum)
    return lars


def _muon(groups: Groups, params: PretrainParams, _fused: bool) -> Optimizer:
    """Each matrix's step is made orthogonal (Jordan et al. 2024); biases and norms go by AdamW.

    Kernels of convolutions are flattened to matrices. Steps are scaled so that rates are those of AdamW
    (Liu et al., arXiv 2502.16982).
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
    """Biases and norms have no weight decay. Fused on CUDA where there is such a kernel: one for all
    parameters."""
    parameters = list(parameters)
    groups: Groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": params.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return OPTIMIZERS[params.optimizer](groups, params, device.type == "cuda")
