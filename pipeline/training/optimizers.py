"""The optimisers, by their names in `pretrain.optimizer`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from pipeline.config.pretrain import PretrainParams
from pipeline.encoders.base import Encoder
from pipeline.encoders.layers import rate_factors

Groups = list[dict[str, Any]]
MATRICES = "matrices"
"""Key of a group: whether its parameters are weights of layers, and not biases, norms or tokens."""


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
    groups = [group | {"always_adapt": True} if group[MATRICES] else group for group in groups]
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
    tokens, factor_of = _tokens(network), _rate_factors(network, params.layer_decay)
    groups: Groups = []
    for factor in sorted({factor_of.get(name, 1.0) for name in trained}, reverse=True):
        of_factor = {name: p for name, p in trained.items() if factor_of.get(name, 1.0) == factor}
        matrices = [p for name, p in of_factor.items() if p.ndim > 1 and name not in tokens]
        others = [p for name, p in of_factor.items() if p.ndim <= 1 or name in tokens]
        for members, decay in ((matrices, params.weight_decay), (others, 0.0)):
            of_matrices = members is matrices
            groups.append(
                {"params": members, MATRICES: of_matrices, "weight_decay": decay, "rate_factor": factor}
            )
    return OPTIMIZERS[params.optimizer](groups, params, device.type == "cuda")


def _tokens(network: nn.Module) -> set[str]:
    """Returns the names of parameters that their module names in `no_weight_decay`, as timm's do."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in network.named_modules()
        if callable(listed := getattr(module, "no_weight_decay", None))
        for name in listed()
    }


def _rate_factors(network: nn.Module, decay: float) -> dict[str, float]:
    """Returns the factors of the learning rate that differ from 1, by the name of the parameter."""
    if decay == 1:
        return {}
    prefix, encoder = next((n, m) for n, m in network.named_modules() if isinstance(m, Encoder))
    return {f"{prefix}.backbone.{name}": f for name, f in rate_factors(encoder.backbone, decay).items()}
