"""Scaling of numbers of any magnitude to a range in which float32 can hold their squares.

Without it, the squares of float32 numbers below 1e-19 in magnitude lose digits or become zero, and those
above 1e19 become infinite.
"""

import torch
from torch import Tensor
from torch.nn import functional


def power_of_two(values: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Returns the largest power of two up to the largest magnitude along `dim`, a dimension that is kept.

    After division by it, magnitudes are below 2, and no digit changes, because division by powers of two is
    exact. It is 1 if all values are zero.
    """
    largest = values.abs().amax(dim, keepdim=True)
    # frexp returns a mantissa from 0.5 to 1.
    return torch.where(largest > 0, largest / (2 * torch.frexp(largest).mantissa), 1.0)


def unit_rows(rows_ND: Tensor) -> Tensor:
    """Divides each row by its Euclidean norm, however small or large; a row of zeros does not change."""
    return functional.normalize(rows_ND / power_of_two(rows_ND, 1), dim=1)
