"""SimSiam's loss against a slow reference in float64, its standing side, its heads and its ranks."""

import math
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.config.pretrain import PretrainParams
from pipeline.encoders.base import Encoder
from pipeline.objectives.base import Batch, DataInfo, StepInfo
from pipeline.objectives.simsiam import SimSiam, simsiam_loss
from pipeline.runtime.distributed import ALONE, Ranks
from pipeline.training.network import Network, over_ranks
from pipeline.training.step import Step
from processes import in_ranks

CPU = torch.device("cpu")
IMAGES, DIM = 6, 5


def rows(count: int, seed: int, dim: int = DIM) -> Tensor:
    return torch.randn(count, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def batch(images: int) -> Batch:
    return Batch(torch.arange(images), torch.zeros(images).long())


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """By hand, so that autograd can tell its gradient."""
    pairs = list(zip(a, b, strict=True))
    lengths = sum(x * x for x, _ in pairs) ** 0.5 * sum(y * y for _, y in pairs) ** 0.5
    product: Tensor = sum(x * y for x, y in pairs) / lengths
    return product


def reference(predictions: Tensor, projections: Tensor) -> Tensor:
    """The definition, image by image; what is a constant is for the caller to say."""
    images = len(predictions) // 2
    losses = []
    for first in range(images):
        second = first + images
        one = cosine(predictions[first], projections[second])
        other = cosine(predictions[second], projections[first])
        losses.append(-(one + other) / 2)
    return torch.stack(losses).mean()


@settings(max_examples=40)
@given(images=st.integers(1, 7), dim=st.integers(1, 6), seed=st.integers(0, 100))
def test_it_is_its_definition(images: int, dim: int, seed: int) -> None:
    predictions, projections = rows(2 * images, seed, dim), rows(2 * images, seed + 1000, dim)
    loss = simsiam_loss(predictions, projections)
    assert loss.dtype == torch.float64
    torch.testing.assert_close(loss, reference(predictions, projections), rtol=1e-9, atol=1e-9)


def test_the_gradient_is_that_of_finite_differences_by_predictions() -> None:
    projections = rows(2 * IMAGES, 1)
    predictions = rows(2 * IMAGES, 0).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: 3 * simsiam_loss(p, projections), predictions)


def test_the_other_side_stands_still() -> None:
    """Both sides are made of one leaf; only what flows through the predictions counts."""
    leaf = rows(2 * IMAGES, 0).requires_grad_()
    (gradient,) = torch.autograd.grad(simsiam_loss(leaf.sin(), leaf), leaf)
    (still,) = torch.autograd.grad(reference(leaf.sin(), leaf.detach()), leaf)
    (moving,) = torch.autograd.grad(reference(leaf.sin(), leaf), leaf)
    torch.testing.assert_close(gradient, still)
    assert (gradient - moving).abs().max() > 0.01


def test_its_ends_are_one_below_and_one_above_zero() -> None:
    projections = rows(2 * IMAGES, 0)
    others = 3 * projections.roll(IMAGES, dims=0)
    assert float(simsiam_loss(others, projections)) == pytest.approx(-1)
    assert float(simsiam_loss(-others, projections)) == pytest.approx(1)
    assert float(simsiam_loss(torch.zeros_like(others), projections)) == 0


def test_low_precision_inputs_are_computed_in_float32() -> None:
    predictions, projections = rows(2 * IMAGES, 0).bfloat16(), rows(2 * IMAGES, 1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = simsiam_loss(predictions, projections)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, simsiam_loss(predictions.float(), projections.float()))


def objective() -> SimSiam:
    torch.manual_seed(0)
    return SimSiam(4, DIM, 3)


def test_the_objective_predicts_from_projections_and_compares_with_them() -> None:
    simsiam = objective().double()
    features = rows(2 * IMAGES, 0, 4)
    outputs = simsiam.project(features)
    projections = simsiam.projector(features)
    torch.testing.assert_close(simsiam.embeddings_of(outputs), projections)
    loss = simsiam.loss(outputs, None, batch(IMAGES), ALONE)
    torch.testing.assert_close(loss, reference(simsiam.predictor(projections), projections))
    assert simsiam.target_momentum(StepInfo(0, 1)) is None


def test_all_weights_learn_and_projections_have_the_batch_norm_s_mean_and_spread() -> None:
    simsiam = objective().double()
    outputs = simsiam.project(rows(2 * IMAGES, 0, 4))
    simsiam.loss(outputs, None, batch(IMAGES), ALONE).backward()
    for name, weight in simsiam.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.count_nonzero() > 0, name
    projections = simsiam.embeddings_of(outputs)
    torch.testing.assert_close(projections.mean(dim=0), torch.zeros(DIM).double(), rtol=0, atol=1e-12)
    spread = projections.std(dim=0, correction=0)
    torch.testing.assert_close(spread, torch.ones(DIM).double(), rtol=0.01, atol=0)


def test_it_is_built_as_params_say() -> None:
    params = PretrainParams.model_validate(
        {"projection_dim": 6, "simsiam": {"hidden": 2}, "objective": "simsiam"}
    )
    simsiam = SimSiam.build(4, params, DataInfo(clusters=2, attributes=0))
    widths = [tuple(layer.weight.shape) for layer in simsiam.modules() if isinstance(layer, nn.Linear)]
    assert widths == [(4, 4), (4, 4), (6, 4), (2, 6), (6, 2)]


def step_of_rank(ranks: Ranks) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients of a whole network, its batch norms over all ranks."""
    network = Network(Encoder(nn.Flatten(), 4), objective()).double()
    assert network.target is None
    pixels = rows(2 * IMAGES, 0, 4)
    called = over_ranks(network, ranks, CPU)
    step = Step(called, network, ranks, nullcontext(), CPU, batch_size=IMAGES, micro_batch=IMAGES)
    own = batch(IMAGES // ranks.world_size)
    loss = step.run(lambda _, places: pixels[places], own, StepInfo(0, 1))
    return loss, {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}


def test_a_step_over_ranks_is_that_of_one_process(tmp_path: Path) -> None:
    expected, gradients = step_of_rank(ALONE)
    assert math.isfinite(expected)
    assert gradients
    for loss, found in in_ranks(2, tmp_path, step_of_rank):
        torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(found, gradients, rtol=1e-7, atol=1e-9)
