"""MoCo's candidates, its gradient, its queue, and ranks against one process."""

from collections import deque
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.nn import functional

from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.base import Batch, DataInfo, StepInfo
from pipeline.objectives.moco import MoCo, contrast
from pipeline.runtime.distributed import ALONE, Ranks
from processes import in_ranks

FEATURES, DIM, TEMPERATURE = 6, 4, 0.3
IMAGES, STEPS, COUNT = 6, 3, 2
INT64 = torch.iinfo(torch.int64)


def moco(queue: int) -> MoCo:
    torch.manual_seed(0)
    return MoCo(FEATURES, DIM, TEMPERATURE, queue=queue, momentum=0.9).double()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def batch_of(clusters: list[int]) -> Batch:
    return Batch(torch.arange(len(clusters)) + 50, torch.tensor(clusters))


@settings(max_examples=60)
@given(
    clusters=st.lists(st.sampled_from([INT64.min, 0, 1, 2, INT64.max]), min_size=1, max_size=7),
    stale=st.lists(st.sampled_from([INT64.min, 0, 1, 9]), max_size=8),
    seed=st.integers(0, 100),
)
def test_no_other_image_of_the_batch_is_looked_at(clusters: list[int], stale: list[int], seed: int) -> None:
    """An image's loss is the same in any batch; the queue may hold ids that no longer exist."""
    objective, count = moco(queue=8), len(clusters)
    keys = functional.normalize(noise(len(stale), DIM, seed=seed + 200), dim=1)
    objective.queue.put(keys, torch.tensor(stale, dtype=torch.int64))
    outputs, targets = (noise(2, count, DIM, seed=seed + more) for more in (0, 400))
    whole = objective.loss(outputs.flatten(0, 1), targets.flatten(0, 1), batch_of(clusters), ALONE)
    alone = [
        objective.loss(outputs[:, image], targets[:, image], batch_of([cluster]), ALONE)
        for image, cluster in enumerate(clusters)
    ]
    torch.testing.assert_close(whole, torch.stack(alone).mean())


def test_the_first_step_has_no_negatives_and_moves_nothing() -> None:
    outputs = noise(8, DIM).requires_grad_()
    loss = moco(queue=5).loss(outputs, noise(8, DIM, seed=1), batch_of([0, 0, 1, 2]), ALONE)
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert loss.detach() == 0
    assert gradient.abs().max() < 1e-15


def test_the_gradient_is_that_of_finite_differences_and_keys_have_none() -> None:
    objective, batch = moco(queue=5), batch_of([0, 0, 1, 2])
    objective.queue.put(functional.normalize(noise(5, DIM, seed=3), dim=1), torch.tensor([0, 1, 1, 7, 2]))
    outputs, targets = noise(8, DIM).requires_grad_(), noise(8, DIM, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: objective.loss(x, targets.detach(), batch, ALONE), outputs)
    objective.loss(outputs, targets, batch, ALONE).backward()
    assert outputs.grad is not None
    assert targets.grad is None


def test_the_target_network_follows_as_slowly_as_the_parameters_say() -> None:
    params = PretrainParams()
    built = MoCo.build(FEATURES, params, DataInfo(clusters=3, attributes=0))
    assert (
        built.target_momentum(StepInfo(0, 9)) == built.target_momentum(StepInfo(8, 9)) == params.moco.momentum
    )
    assert built.queue.length == params.moco.queue
    assert built.project(torch.zeros(2, FEATURES)).shape == (2, params.projection_dim)


@settings(max_examples=40)
@given(length=st.integers(1, 20), sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_the_queue_holds_the_last_keys_with_the_ids_that_they_came_with(
    length: int, sizes: list[int]
) -> None:
    """An image's cluster changes from step to step; its older keys keep their older ids."""
    objective, expected = moco(queue=length), deque[tuple[list[float], int]](maxlen=length)
    for step, count in enumerate(sizes):
        clusters, targets = [image + step for image in range(count)], noise(2 * count, DIM, seed=step)
        objective.end_step(targets, batch_of(clusters), ALONE)
        expected.extend(zip(functional.normalize(targets, dim=1).tolist(), clusters * 2, strict=True))
    queue = objective.queue
    assert sorted(zip(queue.rows.tolist(), queue.ids.tolist(), strict=True)) == sorted(expected)


def test_coarse_outputs_are_compared_in_float32() -> None:
    objective, batch = moco(queue=4).float(), batch_of([0, 1, 0])
    objective.end_step(noise(6, DIM, seed=9).bfloat16(), batch, ALONE)
    outputs, targets = noise(6, DIM).bfloat16(), noise(6, DIM, seed=1).bfloat16()
    expected = objective.loss(outputs.float(), targets.float(), batch, ALONE)
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective.loss(outputs, targets, batch, ALONE)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)


def test_distant_keys_are_no_underflow() -> None:
    """At 1 / temperature = 200 the logits span 400; exp alone spans 190 in float32."""
    axis = torch.tensor([[1.0, 0.0]])
    losses = contrast(axis, -axis, torch.tensor([3]), axis, torch.tensor([4]), 0.005)
    assert losses.tolist() == pytest.approx([400.0])


def test_the_host_reads_no_value() -> None:
    """Tensors without values: whatever would wait for one raises."""
    with FakeTensorMode():
        objective = MoCo(FEATURES, DIM, TEMPERATURE, queue=9, momentum=0.9)
        batch = Batch(torch.arange(4), torch.arange(4))
        for _ in range(3):
            outputs, targets = torch.empty(8, DIM, requires_grad=True), torch.empty(8, DIM)
            objective.loss(outputs, targets, batch, ALONE).backward()
            objective.end_step(targets, batch, ALONE)
            assert outputs.grad is not None
        with pytest.raises(DataDependentOutputException):
            float(outputs.sum())


Steps = list[tuple[Tensor, Tensor, Tensor, Tensor]]


def steps(ranks: Ranks) -> Steps:
    """Loss, gradient (2, B, D) and the queue's rows and ids after each of some steps."""
    objective, own, found = moco(queue=20), ranks.share(IMAGES), []
    for step in range(STEPS):
        outputs, targets = (noise(2, IMAGES, DIM, seed=10 * step + side)[:, own] for side in range(2))
        clusters = (torch.arange(IMAGES) * (step + 1)).remainder(4)
        leaf = outputs.flatten(0, 1).requires_grad_()
        batch = Batch(torch.arange(IMAGES)[own], clusters[own])
        loss = objective.loss(leaf, targets.flatten(0, 1), batch, ranks)
        (gradient,) = torch.autograd.grad(loss, leaf)
        objective.end_step(targets.flatten(0, 1), batch, ranks)
        queue = objective.queue
        found.append((loss.detach(), gradient.unflatten(0, (2, -1)), queue.rows.clone(), queue.ids.clone()))
    return found


def test_ranks_agree_with_one_process(tmp_path: Path) -> None:
    of_each_rank: list[Steps] = in_ranks(COUNT, tmp_path, steps)
    for step, (loss, gradient, rows, ids) in enumerate(steps(ALONE)):
        found = [of_rank[step] for of_rank in of_each_rank]
        torch.testing.assert_close(torch.cat([of_rank[1] for of_rank in found], dim=1), gradient)
        for of_rank in found:
            torch.testing.assert_close(of_rank[0], loss)
            assert torch.equal(of_rank[2], rows)
            assert torch.equal(of_rank[3], ids)
