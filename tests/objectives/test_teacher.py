"""The term that keeps the knowledge of given vectors, beside any objective."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from objectives.test_every_objective import BATCH, FEATURES, IMAGES, batch_of, built, rows_of, seeded
from pipeline.objectives.base import StepInfo
from pipeline.objectives.registry import OBJECTIVES
from pipeline.objectives.teacher import WithTeacher
from pipeline.runtime.distributed import ALONE, Ranks
from processes import in_ranks

NUMBERS, WEIGHT = 3, 0.7


def teacher() -> Tensor:
    drawn = torch.randn(IMAGES, NUMBERS, generator=seeded(5), dtype=torch.float64)
    return functional.normalize(drawn, dim=1)


def with_teacher(name: str) -> WithTeacher:
    objective = built(name)
    torch.manual_seed(1)
    return WithTeacher(objective, FEATURES, teacher(), WEIGHT).double()


def outputs_of(objective: WithTeacher, own: slice) -> Tensor:
    known = batch_of(0, own).attributes_BA
    assert known is not None
    features = rows_of(FEATURES, 0, own)
    return objective.project(features, torch.cat([known, known]))


def loss_of(objective: WithTeacher, outputs: Tensor, own: slice, ranks: Ranks = ALONE) -> Tensor:
    step_info = StepInfo(0, 5)
    embeddings = functional.normalize(torch.randn(IMAGES, 4, generator=seeded(2)), dim=1)
    objective.begin_epoch(0, lambda: embeddings, ranks, 3)
    objective.begin_step(step_info)
    has_target = objective.target_momentum(step_info) is not None
    targets = rows_of(4, 20, own) if has_target else None
    return objective.loss(outputs, targets, batch_of(0, own), ranks)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_is_the_objective_s_and_the_distance_to_the_vectors(name: str) -> None:
    own = slice(0, BATCH)
    objective, alone = with_teacher(name), built(name)
    outputs = outputs_of(objective, own)
    known = batch_of(0, own).attributes_BA
    assert known is not None
    features = rows_of(FEATURES, 0, own)
    own_outputs = alone.project(features, torch.cat([known, known]))
    assert torch.equal(objective.embeddings_of(outputs), alone.embeddings_of(own_outputs))

    predictions = objective.prediction(features)
    images = batch_of(0, own).images_B.repeat(2)
    cosines = [
        torch.dot(prediction, teacher()[image]) / prediction.norm()
        for prediction, image in zip(predictions, images, strict=True)
    ]
    expected_distance = 1 - torch.stack(cosines).mean()
    without = WithTeacher(alone, FEATURES, teacher(), 0.0).double()
    without.prediction.load_state_dict(objective.prediction.state_dict())
    expected = loss_of(without, outputs, own) + WEIGHT * expected_distance
    torch.testing.assert_close(loss_of(objective, outputs, own), expected)


def losses_and_gradients(ranks: Ranks) -> dict[str, tuple[Tensor, Tensor]]:
    own = ranks.share(BATCH)
    found = {}
    for name in OBJECTIVES:
        objective = with_teacher(name)
        # Not those of the heads, whose batch norms see only this rank's rows here.
        width = outputs_of(objective, slice(0, BATCH)).shape[1]
        outputs = rows_of(width, 0, own).requires_grad_()
        loss = loss_of(objective, outputs, own, ranks)
        (gradient,) = torch.autograd.grad(loss, outputs)
        found[name] = loss.detach(), gradient
    return found


def test_two_ranks_are_as_one(tmp_path: Path) -> None:
    by_rank = in_ranks(2, tmp_path, losses_and_gradients)
    for name, (loss, gradient) in losses_and_gradients(ALONE).items():
        halves = [found[name][1].unflatten(0, (2, -1)) for found in by_rank]
        together = torch.cat(halves, dim=1).flatten(0, 1)
        torch.testing.assert_close(together, gradient, rtol=1e-7, atol=1e-12, msg=name)
        for found in by_rank:
            torch.testing.assert_close(found[name][0], loss, rtol=1e-9, atol=1e-12, msg=name)


def test_the_vectors_are_not_saved_with_the_weights() -> None:
    objective = with_teacher("cl_infonce")
    assert "teacher_NT" not in objective.state_dict()
    assert "prediction.weight" in objective.state_dict()
