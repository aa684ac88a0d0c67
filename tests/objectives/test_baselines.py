"""What dual head, cross-entropy, attribute prediction and CMC embed, know and leave out."""

import math
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.objectives.attribute_prediction import AttributePrediction
from pipeline.objectives.base import Batch, Objective
from pipeline.objectives.cmc import CMC
from pipeline.objectives.cross_entropy import CrossEntropy
from pipeline.objectives.dual_head import DualHead
from pipeline.runtime.distributed import ALONE

IMAGES, FEATURES, DIM, CLUSTERS, ATTRIBUTES = 5, 6, 4, 3, 7
TEMPERATURE = 0.3


def batch() -> Batch:
    attributes = torch.randint(-1, 2, (IMAGES, ATTRIBUTES), generator=torch.Generator().manual_seed(2))
    assert set(attributes.flatten().tolist()) == {-1, 0, 1}
    return Batch(torch.tensor([7, 2, 9, 4, 1]), torch.tensor([0, 1, 0, 2, 1]), attributes.to(torch.int8))


def features() -> Tensor:
    return torch.randn(2 * IMAGES, FEATURES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


Built = TypeVar("Built", bound=Objective)


def seeded(build: type[Built], *arguments: Any) -> Built:
    torch.manual_seed(0)
    return build(*arguments).double()


def outputs_of(objective: Objective) -> Tensor:
    known = batch().attributes_BA
    assert known is not None
    return objective.project(features(), torch.cat([known, known]))


def value_of(objective: Objective, outputs: Tensor, _targets: None, known: Batch) -> float:
    return float(objective.loss(outputs, None, known, ALONE).detach())


@pytest.mark.parametrize(("build", "outputs"), [(CrossEntropy, CLUSTERS), (AttributePrediction, ATTRIBUTES)])
def test_a_linear_layer_s_embeddings_are_the_features(build: type[Objective], outputs: int) -> None:
    objective = seeded(build, FEATURES, outputs)
    assert torch.equal(objective.embeddings_of(outputs_of(objective)), features())


def test_attribute_prediction_of_nothing_known_is_zero() -> None:
    objective = seeded(AttributePrediction, FEATURES, ATTRIBUTES)
    unknown = Batch(
        torch.arange(IMAGES), torch.zeros(IMAGES, dtype=torch.int64), -torch.ones(5, 7).to(torch.int8)
    )
    loss = objective.loss(outputs_of(objective), None, unknown, ALONE)
    loss.backward()
    assert loss.detach() == 0
    assert isinstance(objective.projector, nn.Linear)
    assert objective.projector.weight.grad is not None
    assert objective.projector.weight.grad.abs().sum() == 0


def test_cmc_s_embeddings_are_those_of_the_views() -> None:
    objective = seeded(CMC, FEATURES, DIM, ATTRIBUTES, 8, TEMPERATURE)
    outputs = outputs_of(objective).detach()
    assert torch.equal(objective.embeddings_of(outputs), outputs[:, :DIM])
    assert torch.equal(objective.project(features()), outputs[:, :DIM])


def test_cmc_does_not_compare_attributes_with_attributes() -> None:
    """All images have the same ones: a view is as near to each, and each as near to all views."""
    objective = seeded(CMC, FEATURES, DIM, ATTRIBUTES, 8, TEMPERATURE)
    views, same = functional.normalize(torch.eye(DIM), dim=1).double(), torch.ones(1, DIM).double()
    outputs = torch.cat([views.repeat(2, 1), same.expand(2 * DIM, DIM)], dim=1)
    batch = Batch(torch.arange(DIM), torch.arange(DIM))
    assert value_of(objective, outputs, None, batch) == pytest.approx(math.log(DIM))


def test_cmc_tells_what_does_not_hold_from_what_is_not_known() -> None:
    objective = seeded(CMC, FEATURES, DIM, 1, 8, TEMPERATURE)
    attributes = torch.tensor([[1], [0], [-1]], dtype=torch.int8)
    of_attributes = objective.project(features()[:3], attributes)[:, DIM:]
    expected = objective.attribute_projector(torch.tensor([[1.0], [-1.0], [0.0]], dtype=torch.float64))
    assert torch.equal(of_attributes, expected)


def test_clusters_are_remade_in_the_space_of_the_first_head_which_sees_nothing_of_them() -> None:
    objective = seeded(DualHead, FEATURES, DIM, 9, TEMPERATURE)
    outputs = outputs_of(objective).detach().requires_grad_()
    assert torch.equal(objective.embeddings_of(outputs), outputs[:, :DIM])
    other = Batch(batch().images_B, torch.zeros(IMAGES, dtype=torch.int64))
    by_first = [
        torch.autograd.grad(objective.loss(outputs, None, known, ALONE), outputs)[0][:, :DIM]
        for known in (batch(), other)
    ]
    assert torch.equal(*by_first)
