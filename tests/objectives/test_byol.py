"""BYOL's loss against a slow reference in float64, its gradient, its ranks, and the target that follows."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from operations import Operations
from pipeline.config.pretrain import PretrainParams
from pipeline.encoders.base import Encoder
from pipeline.objectives.base import Batch, DataInfo, StepInfo
from pipeline.objectives.byol import BYOL, byol_loss
from pipeline.runtime.distributed import ALONE, Ranks
from pipeline.training.network import Network
from processes import in_ranks

IMAGES, DIM = 6, 5


def rows(count: int, seed: int, dim: int = DIM) -> Tensor:
    return torch.randn(count, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def batch(images: int) -> Batch:
    return Batch(torch.arange(images), torch.zeros(images).long())


def reference(predictions: Tensor, targets: Tensor) -> float:
    """The definition, image by image."""

    def cosine(a: Tensor, b: Tensor) -> float:
        pairs = [(float(x), float(y)) for x, y in zip(a, b, strict=True)]
        lengths = math.sqrt(sum(x * x for x, _ in pairs)) * math.sqrt(sum(y * y for _, y in pairs))
        return sum(x * y for x, y in pairs) / lengths

    images = len(predictions) // 2
    losses = []
    for first in range(images):
        second = first + images
        one = 2 - 2 * cosine(predictions[first], targets[second])
        other = 2 - 2 * cosine(predictions[second], targets[first])
        losses.append(one + other)
    return sum(losses) / images


@settings(max_examples=40)
@given(images=st.integers(1, 7), dim=st.integers(1, 6), seed=st.integers(0, 100))
def test_it_is_its_definition(images: int, dim: int, seed: int) -> None:
    predictions, targets = rows(2 * images, seed, dim), rows(2 * images, seed + 1000, dim)
    loss = byol_loss(predictions, targets)
    assert loss.dtype == torch.float64
    assert float(loss) == pytest.approx(reference(predictions, targets), rel=1e-9, abs=1e-9)


def test_the_gradient_is_that_of_finite_differences() -> None:
    targets = rows(2 * IMAGES, 1)
    predictions = rows(2 * IMAGES, 0).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: 3 * byol_loss(p, targets), predictions)


def test_what_comes_true_costs_nothing_and_its_opposite_most() -> None:
    targets = rows(2 * IMAGES, 0)
    true = 3 * targets.roll(IMAGES, dims=0)
    assert float(byol_loss(true, targets)) == pytest.approx(0, abs=1e-12)
    assert float(byol_loss(-true, targets)) == pytest.approx(8)
    leaf = true.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(byol_loss(leaf, targets), leaf)
    assert gradient.abs().max() < 1e-12


def test_a_prediction_of_nothing_is_no_fault() -> None:
    zeros = torch.zeros(2 * IMAGES, DIM).requires_grad_()
    loss = byol_loss(zeros, rows(2 * IMAGES, 0))
    (gradient,) = torch.autograd.grad(loss, zeros)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_float32_keeps_the_digits_of_predictions_that_all_but_come_true() -> None:
    targets = rows(2 * IMAGES, 0)
    predictions = targets.roll(IMAGES, dims=0) + 1e-4 * rows(2 * IMAGES, 1)
    exact = byol_loss(predictions, targets)
    assert float(byol_loss(predictions.float(), targets.float())) == pytest.approx(float(exact), rel=1e-2)


def test_low_precision_inputs_are_computed_in_float32() -> None:
    predictions, targets = rows(2 * IMAGES, 0).bfloat16(), rows(2 * IMAGES, 1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = byol_loss(predictions, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, byol_loss(predictions.float(), targets.float()))


def test_nothing_waits_for_the_device() -> None:
    with Operations() as seen:
        byol_loss(rows(2 * IMAGES, 0).requires_grad_(), rows(2 * IMAGES, 1)).backward()
    assert "roll" in seen.names
    assert not {"_local_scalar_dense", "nonzero", "masked_select", "equal"} & seen.names


def shares_of(ranks: Ranks, views_ND: Tensor) -> Tensor:
    """This rank's images of both halves."""
    return torch.cat([half[ranks.share(len(half))] for half in views_ND.chunk(2)])


def of_rank(ranks: Ranks) -> tuple[Tensor, Tensor]:
    own = shares_of(ranks, rows(2 * IMAGES, 0)).requires_grad_()
    loss = byol_loss(own, shares_of(ranks, rows(2 * IMAGES, 1)), ranks=ranks)
    return loss.detach(), torch.autograd.grad(loss, own)[0]


def test_ranks_agree_with_one_process(tmp_path: Path) -> None:
    expected, gradient = of_rank(ALONE)
    for index, (loss, found) in enumerate(in_ranks(2, tmp_path, of_rank)):
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found, shares_of(Ranks(index, 2), gradient), rtol=1e-12, atol=1e-12)


def objective(momentum: float = 0.9) -> BYOL:
    torch.manual_seed(0)
    return BYOL(4, DIM, 7, momentum)


def test_the_objective_predicts_from_projections_and_compares_with_the_targets() -> None:
    byol = objective().double()
    features, targets = rows(2 * IMAGES, 0, 4), rows(2 * IMAGES, 1)
    outputs = byol.project(features)
    projections = byol.projector(features)
    torch.testing.assert_close(byol.embeddings_of(outputs), projections)
    loss = byol.loss(outputs, targets, batch(IMAGES), ALONE).detach()
    predictions = byol.predictor(projections).detach()
    assert float(loss) == pytest.approx(reference(predictions, targets))


def test_all_weights_learn() -> None:
    byol = objective().double()
    loss = byol.loss(byol.project(rows(2 * IMAGES, 0, 4)), rows(2 * IMAGES, 1), batch(IMAGES), ALONE)
    loss.backward()
    for name, weight in byol.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.count_nonzero() > 0, name


def test_it_is_built_as_params_say() -> None:
    params = PretrainParams.model_validate(
        {"projection_dim": 3, "byol": {"hidden": 6, "momentum": 0.5}, "objective": "byol"}
    )
    byol = BYOL.build(4, params, DataInfo(clusters=2, attributes=0))
    widths = [tuple(layer.weight.shape) for layer in byol.modules() if isinstance(layer, nn.Linear)]
    assert widths == [(6, 4), (3, 6), (6, 3), (3, 6)]
    assert byol.target_momentum(StepInfo(0, 10)) == 0.5


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.9), (25, 0.95 - 0.05 * math.sqrt(0.5)), (50, 0.95), (100, 1.0)]
)
def test_the_momentum_rises_to_one(step: int, expected: float) -> None:
    assert objective().target_momentum(StepInfo(step, 100)) == pytest.approx(expected, rel=1e-12)


def changed_network(momentum: float) -> tuple[Network, list[Tensor]]:
    """A network whose weights have moved on from its target's; and the target's."""
    network = Network(Encoder(nn.Linear(3, 4), 4), objective(momentum))
    assert network.target is not None
    before = [weight.clone() for weight in network.target.parameters()]
    with torch.no_grad():
        for weight in [*network.encoder.parameters(), *network.objective.parameters()]:
            weight.add_(torch.randn_like(weight))
    return network, before


def target_and_followed(network: Network) -> tuple[list[Tensor], list[Tensor]]:
    assert network.target is not None
    followed: list[Tensor] = [*network.encoder.parameters(), *network.objective.projector.parameters()]
    return list(network.target.parameters()), followed


def test_a_target_without_momentum_is_a_copy() -> None:
    network, before = changed_network(0.0)
    network.begin_step(StepInfo(0, 10))
    targets, followed = target_and_followed(network)
    assert all(map(torch.equal, targets, followed))
    assert not any(map(torch.equal, targets, before))


def test_a_target_that_keeps_all_stays() -> None:
    network, before = changed_network(1.0)
    network.begin_step(StepInfo(0, 10))
    assert all(map(torch.equal, target_and_followed(network)[0], before))


def test_a_target_follows_by_what_it_does_not_keep() -> None:
    network, before = changed_network(0.8)
    network.begin_step(StepInfo(5, 10))
    targets, followed = target_and_followed(network)
    for target, old, new in zip(targets, before, followed, strict=True):
        torch.testing.assert_close(target, 0.9 * old + 0.1 * new)
        assert not target.requires_grad


def test_the_target_has_no_predictor_and_projects_to_as_many_dimensions() -> None:
    network, _ = changed_network(0.0)
    assert network.target is not None
    network.begin_step(StepInfo(0, 10))
    images = rows(2 * IMAGES, 0, 3).float()
    _, outputs = network(images)
    _, targets = network.target(images)
    torch.testing.assert_close(targets, network.objective.embeddings_of(outputs))
    assert not targets.requires_grad
