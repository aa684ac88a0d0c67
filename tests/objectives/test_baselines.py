"""Dual head, cross-entropy, attribute prediction and CMC against their formulas, term by term."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.objectives.attribute_prediction import AttributePrediction
from pipeline.objectives.base import Batch, Objective
from pipeline.objectives.cl_infonce import ClInfoNCE
from pipeline.objectives.cmc import CMC
from pipeline.objectives.cross_entropy import CrossEntropy
from pipeline.objectives.dual_head import DualHead
from pipeline.ranks import ALONE

IMAGES, FEATURES, DIM, CLUSTERS, ATTRIBUTES = 5, 6, 4, 3, 7
TEMPERATURE = 0.3


def batch() -> Batch:
    attributes = torch.randint(-1, 2, (IMAGES, ATTRIBUTES), generator=torch.Generator().manual_seed(2))
    assert set(attributes.flatten().tolist()) == {-1, 0, 1}
    return Batch(torch.tensor([7, 2, 9, 4, 1]), torch.tensor([0, 1, 0, 2, 1]), attributes.to(torch.int8))


def features() -> Tensor:
    return torch.randn(2 * IMAGES, FEATURES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def seeded(build: type[Objective], *arguments: object) -> Objective:
    torch.manual_seed(0)
    return build(*arguments).double()


def outputs_of(objective: Objective) -> Tensor:
    known = batch().attributes_BA
    assert known is not None
    return objective.project(features(), torch.cat([known, known]))


def value_of(objective: Objective, outputs: Tensor, _targets: None, known: Batch) -> float:
    return float(objective.loss(outputs, None, known, ALONE).detach())


def nt_xent(first: Tensor, second: Tensor) -> float:
    """With every row of both an anchor; `second` holds the other view of each."""
    rows = [*functional.normalize(first, dim=1), *functional.normalize(second, dim=1)]
    total, count = 0.0, len(first)
    for anchor in range(2 * count):
        scores = [math.exp(float(rows[anchor] @ row) / TEMPERATURE) for row in rows]
        denominator = sum(score for place, score in enumerate(scores) if place != anchor)
        total -= math.log(scores[(anchor + count) % (2 * count)] / denominator)
    return total / (2 * count)


def test_cross_entropy_is_that_of_each_view() -> None:
    objective = seeded(CrossEntropy, FEATURES, CLUSTERS)
    outputs = outputs_of(objective).detach()
    assert torch.equal(objective.embeddings_of(outputs), features())
    expected = 0.0
    for row, cluster in zip(outputs, [0, 1, 0, 2, 1] * 2, strict=True):
        logits = row[FEATURES:].tolist()
        expected -= math.log(math.exp(logits[cluster]) / sum(map(math.exp, logits)))
    assert value_of(objective, outputs, None, batch()) == pytest.approx(expected / (2 * IMAGES))


def test_attribute_prediction_counts_what_is_known() -> None:
    objective = seeded(AttributePrediction, FEATURES, ATTRIBUTES)
    outputs = outputs_of(objective).detach()
    known = batch().attributes_BA
    assert known is not None
    terms = []
    for row, attributes in zip(outputs, [*known.tolist(), *known.tolist()], strict=True):
        for logit, attribute in zip(row[FEATURES:].tolist(), attributes, strict=True):
            if attribute >= 0:
                share = 1 / (1 + math.exp(-logit))
                terms.append(-math.log(share if attribute else 1 - share))
    found = objective.loss(outputs, None, batch(), ALONE)
    assert float(found) == pytest.approx(sum(terms) / len(terms))


def test_attribute_prediction_of_nothing_known_is_zero() -> None:
    objective = seeded(AttributePrediction, FEATURES, ATTRIBUTES)
    unknown = Batch(
        torch.arange(IMAGES), torch.zeros(IMAGES, dtype=torch.int64), -torch.ones(5, 7).to(torch.int8)
    )
    loss = objective.loss(outputs_of(objective), None, unknown, ALONE)
    loss.backward()
    assert loss.detach() == 0
    assert objective.projector.weight.grad is not None
    assert objective.projector.weight.grad.abs().sum() == 0


def test_cmc_compares_each_view_with_the_attributes() -> None:
    objective = seeded(CMC, FEATURES, DIM, ATTRIBUTES, 8, TEMPERATURE)
    outputs = outputs_of(objective).detach()
    views, attributes = outputs.split(DIM, dim=1)
    assert torch.equal(objective.embeddings_of(outputs), views)
    assert torch.equal(objective.project(features()), views)
    sides = [nt_xent(views[:IMAGES], attributes[:IMAGES]), nt_xent(views[IMAGES:], attributes[IMAGES:])]
    found = objective.loss(outputs, None, batch(), ALONE)
    assert float(found) == pytest.approx(sum(sides) / 2)


def test_cmc_tells_what_does_not_hold_from_what_is_not_known() -> None:
    objective = seeded(CMC, FEATURES, DIM, 1, 8, TEMPERATURE)
    told = torch.tensor([[1], [0], [-1]], dtype=torch.int8)
    of_attributes = objective.project(features()[:3], told)[:, DIM:]
    expected = objective.attribute_projector(torch.tensor([[1.0], [-1.0], [0.0]], dtype=torch.float64))
    assert torch.equal(of_attributes, expected)


def test_the_dual_head_is_the_sum_of_two_losses_of_two_heads() -> None:
    objective = seeded(DualHead, FEATURES, DIM, 9, TEMPERATURE, "out")
    outputs = outputs_of(objective).detach()
    first, second = outputs.split(DIM, dim=1)
    assert torch.equal(objective.embeddings_of(outputs), first)
    by_cluster = ClInfoNCE(FEATURES, DIM, TEMPERATURE).loss(second, None, batch(), ALONE)
    expected = nt_xent(first[:IMAGES], first[IMAGES:]) + float(by_cluster)
    assert value_of(objective, outputs, None, batch()) == pytest.approx(expected)
    # Of clusters the first head sees nothing.
    other = Batch(batch().images_B, torch.zeros(IMAGES, dtype=torch.int64))
    leaf = outputs.detach().requires_grad_()
    by_first = [
        torch.autograd.grad(objective.loss(leaf, None, known, ALONE), leaf)[0][:, :DIM]
        for known in (batch(), other)
    ]
    assert torch.equal(*by_first)


def test_unique_clusters_make_the_dual_head_s_losses_one_kind() -> None:
    objective = seeded(DualHead, FEATURES, DIM, 9, TEMPERATURE, "out")
    outputs = torch.cat([outputs_of(objective)[:, :DIM]] * 2, dim=1).detach()
    unique = Batch(torch.arange(IMAGES), torch.arange(IMAGES))
    loss = objective.loss(outputs, None, unique, ALONE)
    assert float(loss) == pytest.approx(2 * nt_xent(outputs[:IMAGES, :DIM], outputs[IMAGES:, :DIM]))
