"""ICCL's losses against slow references in float64, their gradient, the hand-over and the ranks."""

import math
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.config.objectives import IcclParams
from pipeline.config.pretrain import PretrainParams
from pipeline.encoders.base import Encoder
from pipeline.objectives.base import Batch, DataInfo, StepInfo
from pipeline.objectives.byol import BYOL, byol_loss
from pipeline.objectives.iccl import ICCL, clustering_loss, scheduled_weight, uniformity_loss
from pipeline.runtime.distributed import ALONE, Ranks
from pipeline.training.network import Network, over_ranks
from pipeline.training.step import Step
from processes import in_ranks

CPU = torch.device("cpu")
IMAGES, DIM = 6, 5
ONLINE, TARGET, RHO = 0.3, 0.2, 2.5


def rows(count: int, seed: int, dim: int = DIM) -> Tensor:
    return torch.randn(count, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def batch(images: int) -> Batch:
    return Batch(torch.arange(images), torch.zeros(images).long())


def softmax(vector: Tensor, temperature: float) -> list[float]:
    """Of the vector at length 1."""
    values = [float(x) for x in vector]
    length = math.sqrt(sum(x * x for x in values))
    powers = [math.exp(x / length / temperature) for x in values]
    return [power / sum(powers) for power in powers]


def reference_uniformity(shares: list[list[float]]) -> float:
    """KL(uniform || mean), term by term."""
    clusters = len(shares[0])
    mean = [sum(share[d] for share in shares) / len(shares) for d in range(clusters)]
    return sum(1 / clusters * math.log(1 / clusters / used) for used in mean)


def reference(
    predictions: Tensor, targets: Tensor, online: float, target: float, rho: float
) -> tuple[float, float]:
    """The definition, image by image: rho * L_u and L_ce."""
    n = [softmax(row, online) for row in predictions]
    m = [softmax(row, target) for row in targets]
    images = len(n) // 2
    cross = 0.0
    for first in range(images):
        second = first + images
        cross -= sum(a * math.log(b) for a, b in zip(m[first], n[second], strict=True)) / 2
        cross -= sum(a * math.log(b) for a, b in zip(m[second], n[first], strict=True)) / 2
    return rho * reference_uniformity(n), cross / images


@settings(max_examples=40)
@given(
    images=st.integers(1, 6),
    dim=st.integers(1, 6),
    online=st.floats(0.05, 2.0),
    target=st.floats(0.05, 2.0),
    rho=st.sampled_from([0.0, 1.0, 5.0]),
    seed=st.integers(0, 100),
)
def test_clustering_is_its_definition(
    images: int, dim: int, online: float, target: float, rho: float, seed: int
) -> None:
    predictions, targets = rows(2 * images, seed, dim), rows(2 * images, seed + 1000, dim)
    loss = clustering_loss(predictions, targets, online, target, rho)
    assert loss.dtype == torch.float64
    expected = sum(reference(predictions, targets, online, target, rho))
    assert float(loss) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_gradient_is_that_of_finite_differences() -> None:
    targets = rows(2 * IMAGES, 1)
    predictions = rows(2 * IMAGES, 0).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: clustering_loss(p, targets, ONLINE, TARGET, RHO), predictions)


def test_clusters_used_alike_cost_nothing_and_one_cluster_alone_much() -> None:
    confident = (50 * torch.eye(DIM, dtype=torch.float64)).log_softmax(dim=1)
    assert float(uniformity_loss(confident)) == pytest.approx(0, abs=1e-9)
    # Of all but one cluster exp(-50) is left to each: -log D - (D - 1) / D * -50.
    expected = 50 * (DIM - 1) / DIM - math.log(DIM)
    assert float(uniformity_loss(confident[:1].repeat(4, 1))) == pytest.approx(expected)


def test_one_dimension_is_one_cluster_and_leaves_nothing_to_learn() -> None:
    predictions = rows(2 * IMAGES, 0, 1).requires_grad_()
    loss = clustering_loss(predictions, rows(2 * IMAGES, 1, 1), ONLINE, TARGET, RHO)
    (gradient,) = torch.autograd.grad(loss, predictions)
    assert float(loss.detach()) == pytest.approx(0, abs=1e-12)
    assert gradient.count_nonzero() == 0


def test_a_cluster_that_no_view_is_near_is_no_underflow() -> None:
    """At 1 / temperature = 200 its share is exp(-200), which float32 does not hold."""
    axis = torch.eye(3)[:1].repeat(4, 1).requires_grad_()
    loss = clustering_loss(axis, axis.detach(), 0.005, 0.005, 1.0)
    (gradient,) = torch.autograd.grad(loss, axis)
    assert float(loss.detach()) == pytest.approx(200 * 2 / 3 - math.log(3), rel=1e-5)
    assert gradient.isfinite().all()


def test_low_precision_inputs_are_computed_in_float32() -> None:
    predictions, targets = rows(2 * IMAGES, 0).bfloat16(), rows(2 * IMAGES, 1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = clustering_loss(predictions, targets, 0.1, 0.07, 1.0)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, clustering_loss(predictions.float(), targets.float(), 0.1, 0.07, 1.0))


@pytest.mark.parametrize(
    ("share", "weight"),
    [(0.0, 0.0), (0.499, 0.0), (0.5, 0.0), (0.525, 0.25), (0.55, 0.5), (0.6, 1.0), (1, 1)],
)
def test_similarity_hands_over_to_clustering(share: float, weight: float) -> None:
    assert scheduled_weight(share, 0.5, 0.6) == pytest.approx(weight, abs=1e-12)


@pytest.mark.parametrize(
    ("start", "end", "weights"), [(0.5, 0.5, [0, 1, 1]), (0, 0, [1, 1, 1]), (1, 1, [0, 0, 1])]
)
def test_it_may_hand_over_at_once(start: float, end: float, weights: list[float]) -> None:
    assert [scheduled_weight(share, start, end) for share in (0.0, 0.5, 1.0)] == weights


def objective(**changes: object) -> ICCL:
    torch.manual_seed(0)
    given = {
        "hidden": 7,
        "momentum": 0.9,
        "online_temperature": ONLINE,
        "target_temperature": TARGET,
        "uniformity": RHO,
    }
    return ICCL(4, DIM, IcclParams.model_validate(given | changes)).double()


@pytest.mark.parametrize("step", [0, 50, 52, 57, 60, 99])
@pytest.mark.parametrize("constant", [None, 0.3, 1.0])
def test_the_loss_is_the_mixture_of_its_moment(step: int, constant: float | None) -> None:
    iccl = objective(constant=constant)
    iccl.begin_step(StepInfo(step, 100))
    features, targets = rows(2 * IMAGES, 0, 4), rows(2 * IMAGES, 1)
    outputs = iccl.project(features)
    predictions = iccl.predictor(iccl.projector(features)).detach()
    weight = scheduled_weight(step / 100, 0.5, 0.6) if constant is None else constant
    uniform, cross = reference(predictions, targets, ONLINE, TARGET, RHO)
    similarity = float(byol_loss(predictions, targets))
    expected = weight * (uniform + cross) + (1 - weight) * similarity
    loss = iccl.loss(outputs, targets, batch(IMAGES), ALONE).detach()
    assert float(loss) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("step", [0, 55, 99])
def test_without_clustering_it_is_byol(step: int) -> None:
    iccl = objective(constant=0)
    byol = BYOL(4, DIM, 7, 0.9).double()
    byol.load_state_dict(iccl.state_dict())
    found = []
    for one in (iccl, byol):
        one.begin_step(StepInfo(step, 100))
        outputs = one.project(rows(2 * IMAGES, 0, 4))
        loss = one.loss(outputs, rows(2 * IMAGES, 1), batch(IMAGES), ALONE)
        found.append((loss, *torch.autograd.grad(loss, list(one.parameters()))))
        assert one.target_momentum(StepInfo(step, 100)) == byol.target_momentum(StepInfo(step, 100))
    assert all(map(torch.equal, *found))


def test_before_the_first_step_it_is_at_the_training_s_start() -> None:
    assert objective().clustering_weight == 0
    assert objective(start=0, end=0).clustering_weight == 1
    assert objective(constant=0.4).clustering_weight == 0.4


def test_all_weights_learn_from_clustering_alone() -> None:
    iccl = objective(constant=1)
    iccl.loss(iccl.project(rows(2 * IMAGES, 0, 4)), rows(2 * IMAGES, 1), batch(IMAGES), ALONE).backward()
    for name, weight in iccl.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.count_nonzero() > 0, name


def test_it_is_built_as_params_say() -> None:
    params = PretrainParams.model_validate(
        {"projection_dim": 3, "iccl": {"hidden": 6, "momentum": 0.5, "constant": 0.2}, "objective": "iccl"}
    )
    iccl = ICCL.build(4, params, DataInfo(clusters=2, attributes=0))
    widths = [tuple(layer.weight.shape) for layer in iccl.modules() if isinstance(layer, nn.Linear)]
    assert widths == [(6, 4), (3, 6), (6, 3), (3, 6)]
    assert iccl.target_momentum(StepInfo(0, 10)) == 0.5
    assert iccl.clustering_weight == 0.2


def shares_of(ranks: Ranks, views_ND: Tensor) -> Tensor:
    """This rank's images of both halves."""
    return torch.cat([half[ranks.share(len(half))] for half in views_ND.chunk(2)])


def divided() -> Tensor:
    """Log-shares of views of which the first images use some clusters and the last images the others."""
    logits_ND = rows(2 * IMAGES, 2, 4)
    for half_ND in logits_ND.chunk(2):
        half_ND[: IMAGES // 2, :2] += 6
        half_ND[IMAGES // 2 :, 2:] += 6
    return logits_ND.log_softmax(dim=1)


Found = tuple[Tensor, Tensor]


OfRank = tuple[Found, Found, tuple[Tensor, dict[str, Tensor]]]


def of_rank(ranks: Ranks) -> OfRank:
    """Loss and gradient of uniform use, of clustering, and of a step of a whole network."""
    logs = shares_of(ranks, divided()).requires_grad_()
    uniform = uniformity_loss(logs, ranks=ranks)
    own = shares_of(ranks, rows(2 * IMAGES, 0)).requires_grad_()
    targets = shares_of(ranks, rows(2 * IMAGES, 1))
    clustering = clustering_loss(own, targets, ONLINE, TARGET, RHO, ranks=ranks)
    return (
        (uniform.detach(), torch.autograd.grad(uniform, logs)[0]),
        (clustering.detach(), torch.autograd.grad(clustering, own)[0]),
        step_of_rank(ranks),
    )


def step_of_rank(ranks: Ranks) -> tuple[Tensor, dict[str, Tensor]]:
    network = Network(Encoder(nn.Flatten(), 4), objective(constant=0.6)).double()
    pixels = rows(2 * IMAGES, 0, 4)
    called = over_ranks(network, ranks, CPU)
    step = Step(called, network, ranks, nullcontext(), CPU, batch_size=IMAGES, micro_batch=IMAGES)
    own = batch(IMAGES // ranks.world_size)
    loss = step.run(lambda _, places: pixels[places], own, StepInfo(0, 1))
    return loss, {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}


@pytest.fixture(scope="module")
def of_each_rank(tmp_path_factory: pytest.TempPathFactory) -> list[OfRank]:
    return in_ranks(2, tmp_path_factory.mktemp("ranks"), of_rank)


@pytest.mark.parametrize("which", [0, 1], ids=["uniformity", "clustering"])
def test_ranks_agree_with_one_process(of_each_rank: list[OfRank], which: int) -> None:
    expected, gradient = of_rank(ALONE)[:2][which]
    assert gradient.count_nonzero() == gradient.numel()
    for index, found in enumerate(of_each_rank):
        loss, own = found[:2][which]
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(own, shares_of(Ranks(index, 2), gradient), rtol=1e-11, atol=1e-12)


def test_uniform_use_is_that_of_all_ranks_not_of_each(of_each_rank: list[OfRank]) -> None:
    """Together the ranks use all clusters alike, each by itself does not."""
    each = [float(uniformity_loss(shares_of(Ranks(index, 2), divided()))) for index in range(2)]
    whole = reference_uniformity(divided().exp().tolist())
    assert min(each) > whole + 0.5
    assert [float(found[0][0]) for found in of_each_rank] == pytest.approx([whole, whole])


def test_a_step_over_ranks_is_that_of_one_process(of_each_rank: list[OfRank]) -> None:
    expected, gradients = step_of_rank(ALONE)
    assert gradients
    for _, _, (loss, found) in of_each_rank:
        torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(found, gradients, rtol=1e-7, atol=1e-9)
