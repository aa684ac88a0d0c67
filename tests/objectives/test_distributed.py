"""Two real processes, each with its own rows, against one process with the rows of both."""

import pytest
import torch
from torch import Tensor

from pipeline.objectives.cl_infonce import Form, cl_infonce_loss
from pipeline.objectives.tiled_logits import TILE_SIDE
from pipeline.runtime.distributed import ALONE, Ranks
from processes import in_ranks

COUNT, ROWS, DIM = 2, 14, 6
TEMPERATURE = 0.1
FORMS: list[Form] = ["out", "in", "across", "pair"]
DTYPES = [torch.float64, torch.float32]
SIDES = [4, 7, 512]
CLUSTERS = {
    "shared by the ranks": [number % 5 for number in range(COUNT * ROWS)],
    "within a rank": [number // 6 for number in range(COUNT * ROWS)],
    "uneven: one rank has no positive": [*range(ROWS), *[20] * ROWS],
    "none": [*range(COUNT * ROWS)],
}
Case = tuple[str, Form, torch.dtype, int]
CASES: list[Case] = [
    (name, form, dtype, side) for name in CLUSTERS for form in FORMS for dtype in DTYPES for side in SIDES
]


def rows(dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(COUNT * ROWS, DIM, dtype=torch.float64, generator=generator).to(dtype)


def losses_and_gradients(ranks: Ranks) -> list[tuple[Tensor, Tensor]]:
    """Of every case, for the rows of this rank."""
    found = []
    for name, form, dtype, side in CASES:
        TILE_SIDE["cpu"] = side
        own = ranks.share(COUNT * ROWS)
        leaf = rows(dtype)[own].requires_grad_()
        clusters = torch.tensor(CLUSTERS[name])[own]
        loss = cl_infonce_loss(leaf, clusters, TEMPERATURE, form, ranks=ranks)
        (gradient,) = torch.autograd.grad(loss, leaf)
        found.append((loss.detach(), gradient))
    return found


@pytest.fixture(scope="module")
def of_each_rank(tmp_path_factory: pytest.TempPathFactory) -> list[dict[Case, tuple[Tensor, Tensor]]]:
    found = in_ranks(COUNT, tmp_path_factory.mktemp("ranks"), losses_and_gradients)
    return [dict(zip(CASES, of_rank, strict=True)) for of_rank in found]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_ranks_agree_with_one_process(
    of_each_rank: list[dict[Case, tuple[Tensor, Tensor]]], case: Case
) -> None:
    name, form, dtype, _ = case
    # One process takes all x before all y; each rank has its own x before its own y.
    order = torch.arange(COUNT * ROWS)
    if form in ("across", "pair"):
        order = order.view(COUNT, 2, ROWS // 2).transpose(0, 1).flatten()
    leaf = rows(dtype)[order].requires_grad_()
    expected = cl_infonce_loss(leaf, torch.tensor(CLUSTERS[name])[order], TEMPERATURE, form, ranks=ALONE)
    (gradient,) = torch.autograd.grad(expected, leaf)
    tolerance = 1e-9 if dtype == torch.float64 else 1e-6
    found = torch.cat([of_rank[case][1] for of_rank in of_each_rank])[order]
    torch.testing.assert_close(found, gradient, rtol=tolerance, atol=tolerance)
    for of_rank in of_each_rank:
        torch.testing.assert_close(of_rank[case][0], expected.detach(), rtol=tolerance, atol=tolerance)
    assert torch.equal(of_each_rank[0][case][0], of_each_rank[1][case][0])
