"""Checks of a network's weights and loss before they are saved, trained further or handed on."""

import math

import torch
from torch import Tensor, nn

LARGEST_WEIGHT = 1e6
"""Ten thousand times the largest weights of usual trainings. Larger ones have diverged, which normalisation
may hide from the outputs and the loss."""


def fault_of(network: nn.Module, loss: Tensor) -> str | None:
    """What is wrong with the loss or the weights, as a clause in the past tense; None where nothing is.

    Waits for the device. All ranks hold the same weights, so they find the same.
    """
    if not math.isfinite(float(loss)):
        return "the loss was not finite"
    if not is_finite(network):
        return "weights were not finite"
    largest = max(float(weight.detach().abs().max()) for weight in network.parameters())
    if largest > LARGEST_WEIGHT:
        return f"weights had grown to {largest:.0e}"
    return None


def is_finite(network: nn.Module) -> bool:
    """Whether all weights are, and all buffers, such as batch norm's running statistics."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in (*network.parameters(), *network.buffers()))
