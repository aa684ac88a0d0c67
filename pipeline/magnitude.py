"""Numbers of any scale, brought to where their squares are float32 again.

Whoever squares features as they come counts those below 1e-19 as zero and those above 1e19 as infinite.
"""

import torch
from torch import Tensor
from torch.nn import functional


def power_of_two(values: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """The largest power of two that is not above the largest magnitude along `dim`, which keeps length 1.

    Divided by it, magnitudes are below 2 and no digit changes, as division by powers of two is exact. It is 1
    where all are zero.
    """
    largest = values.abs().amax(dim, keepdim=True)
    # frexp gives a mantissa from 0.5 to 1.
    return torch.where(largest > 0, largest / (2 * torch.frexp(largest).mantissa), 1.0)


def unit_rows(rows_ND: Tensor) -> Tensor:
    """Each row divided by its length, however small or large that is; a row of zeros stays one."""
    return functional.normalize(rows_ND / power_of_two(rows_ND, 1), dim=1)
