"""The optimisers, by their names in `pretrain.optimizer`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
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


def build_optimizer(network: nn.Module, params: PretrainParams, device: torch.device) -> Optimizer:
    """Builds the optimiser, without weight decay for biases, norms and tokens.

    Tokens and position embeddings are the parameters that a network of timm names in `no_weight_decay`. On
    CUDA, SGD and AdamW use one fused kernel for all parameters.
    """
    trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    tokens = _tokens(network)
    matrices = [p for name, p in trained.items() if p.ndim > 1 and name not in tokens]
    others = [p for name, p in trained.items() if p.ndim <= 1 or name in tokens]
    groups: Groups = [
        {"params": matrices, "weight_decay": params.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return OPTIMIZERS[params.optimizer](groups, params, device.type == "cuda")


def _tokens(network: nn.Module) -> set[str]:
    """Returns the names of parameters that their module names in `no_weight_decay`, as timm's do."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in network.named_modules()
        if callable(listed := getattr(module, "no_weight_decay", None))
        for name in listed()
    }
