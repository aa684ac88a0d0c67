"""Scales numbers of any magnitude to where float32 holds their squares.

Squared as they are, float32 numbers below 1e-19 in magnitude lose digits or become zero, and those above 1e19
become infinite.
"""

import torch
from torch import Tensor
from torch.nn import functional


def power_of_two(values: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """The largest power of two that is not above the largest magnitude along `dim`, a dimension that is kept.

    Divided by it, magnitudes are below 2 and no digit changes, as division by powers of two is exact. It is 1
    where all are zero.
    """
    largest = values.abs().amax(dim, keepdim=True)
    # frexp gives a mantissa from 0.5 to 1.
    return torch.where(largest > 0, largest / (2 * torch.frexp(largest).mantissa), 1.0)


def unit_rows(rows_ND: Tensor) -> Tensor:
    """Each row divided by its Euclidean norm, however small or large; a row of zeros stays as it is."""
    return functional.normalize(rows_ND / power_of_two(rows_ND, 1), dim=1)
