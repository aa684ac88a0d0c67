"""Checks of a network's weights and loss before they are saved, trained further or exported."""

import math

import torch
from torch import Tensor, nn

LARGEST_WEIGHT = 1e6
"""Limit on the size of weights: ten thousand times the largest ones of usual trainings. Larger weights have
diverged, which normalisation may hide from the outputs and the loss."""


def fault_of(network: nn.Module, loss: Tensor) -> str | None:
    """Returns what is wrong with the loss or the weights, as a clause in the past tense, or None.

    Waits for the device. All ranks hold the same weights, so they find the same fault.
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
    """Returns whether all weights and buffers, such as batch norm's running statistics, are finite."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in (*network.parameters(), *network.buffers()))
