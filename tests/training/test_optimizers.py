"""What the optimisers do with the two groups of weights that they are given."""

import pytest
import torch
from torch.nn import Parameter

from pipeline.config.pretrain import PretrainParams
from pipeline.training.optimizers import build_optimizer


@pytest.mark.parametrize("weight_decay", [0.0, 1e-6])
def test_lars_follows_the_norm_of_a_matrix_whatever_the_weight_decay(weight_decay: float) -> None:
    """You et al., arXiv 1708.03888: the step of a layer is 0.001 of its norm, times the rate; of a bias
    it is that of SGD."""
    params = PretrainParams(optimizer="lars", learning_rate=2.0, momentum=0.0, weight_decay=weight_decay)
    matrix, bias = Parameter(torch.full((2, 2), 0.5)), Parameter(torch.ones(2))
    optimizer = build_optimizer([matrix, bias], params, torch.device("cpu"))
    matrix.grad, bias.grad = torch.full((2, 2), 3.0), torch.full((2,), 3.0)
    before = matrix.detach().clone()
    optimizer.step()
    assert float((before - matrix).norm().detach()) == pytest.approx(2.0 * 0.001 * 1.0, rel=1e-4)
    assert bias.tolist() == [1.0 - 2.0 * 3.0] * 2
