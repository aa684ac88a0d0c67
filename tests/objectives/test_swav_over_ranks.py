"""SwAV as the training loop runs it: the same over ranks and in parts of a batch as alone."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from objectives.small_swav import CPU, FEATURES, objective, random
from pipeline.encoders.base import Encoder
from pipeline.objectives.base import Batch, StepInfo
from pipeline.runtime.distributed import ALONE, Ranks
from pipeline.training.network import Network, over_ranks
from pipeline.training.step import Step
from processes import in_ranks

BATCH, STEPS = 8, 6
Case = tuple[int, int]
CASES: list[Case] = [(12, BATCH), (16, BATCH // 2), (0, BATCH), (5, BATCH)]
"""Lengths of the queue, and images at one time."""


def pixels() -> Tensor:
    return random(STEPS * BATCH, 3, 2, 2, seed=3)


def trained(ranks: Ranks, case: Case) -> dict[str, Any]:
    """Several steps as the training loop makes them, the queue coming into use, prototypes thawing."""
    queue, micro_batch = case
    linear = nn.Linear(12, FEATURES)
    encoder = Encoder(nn.Sequential(nn.Flatten(), linear), FEATURES)
    torch.manual_seed(0)
    nn.init.normal_(linear.weight)
    nn.init.zeros_(linear.bias)
    swav = objective(queue=queue, queue_from=0.3, frozen_fraction=0.3)
    network = Network(encoder, swav).double()
    called = over_ranks(network, ranks, CPU)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.3, momentum=0.9, weight_decay=1e-3)
    step = Step(called, network, ranks, nullcontext(), CPU, batch_size=BATCH, micro_batch=micro_batch)
    losses, gradients = [], []
    for number in range(STEPS):
        images_B = step.places_B + number * BATCH

        def views(rows: Tensor, places: Tensor, images_B: Tensor = images_B) -> Tensor:
            """Each place of the batch has a light of its own, so that a view in a wrong place shows."""
            return pixels()[images_B[rows % len(images_B)]] * (1 + places[:, None, None, None] / 10)

        batch = Batch(images_B, torch.zeros_like(images_B))
        optimizer.zero_grad()
        losses.append(step.run(views, batch, StepInfo(number, STEPS)))
        gradients.append({name: weight.grad for name, weight in network.named_parameters()})
        gradients[-1] = {name: None if g is None else g.clone() for name, g in gradients[-1].items()}
        optimizer.step()
    order = swav.queue.ids.argsort()
    rows = {"ids": swav.queue.ids[order], "rows": swav.queue.rows[order]}
    return {"losses": torch.stack(losses), "gradients": gradients, "queue": rows, "put": swav.queue._put}


def all_trained(ranks: Ranks) -> list[dict[str, Any]]:
    return [trained(ranks, case) for case in CASES]


@pytest.fixture(scope="module")
def of_each_rank(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    return in_ranks(2, tmp_path_factory.mktemp("ranks"), all_trained)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_ranks_agree_with_one_process(of_each_rank: list[list[dict[str, Any]]], case: Case) -> None:
    expected = trained(ALONE, case)
    assert expected["losses"].std() > 1e-3
    assert expected["gradients"][1]["objective.prototypes_KD"].count_nonzero() == 0
    assert expected["gradients"][2]["objective.prototypes_KD"].count_nonzero() > 0
    found = [of_rank[CASES.index(case)] for of_rank in of_each_rank]
    for of_rank in found:
        torch.testing.assert_close(of_rank, expected, rtol=1e-8, atol=1e-10)
    assert torch.equal(found[0]["losses"], found[1]["losses"])


def test_the_queue_counts_in_what_ranks_are_compared_by() -> None:
    """Else agreement over ranks would not tell of it: from the third step on, where 12 rows are full."""
    with_queue, without = (trained(ALONE, (queue, BATCH))["losses"] for queue in (12, 0))
    assert torch.equal(with_queue[:2], without[:2])
    assert (with_queue[2:] - without[2:]).abs().min() > 1e-5
