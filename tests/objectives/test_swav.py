"""Codes and the loss against slow references in float64, the queue, frozen prototypes, and saving."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from objectives.small_swav import DIM, FEATURES, PROTOTYPES, TEMPERATURE, objective, random
from operations import Operations
from pipeline.config.objectives import SwavParams
from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.base import Batch, DataInfo, StepInfo
from pipeline.objectives.swav import SwAV, sinkhorn_codes
from pipeline.runtime.distributed import ALONE

START = StepInfo(0, 1)
Rows = list[list[float]]


def batch_of(images: int, first: int = 0) -> Batch:
    return Batch(torch.arange(first, first + images), torch.zeros(images, dtype=torch.int64))


def one_step(swav: SwAV, features_NF: Tensor, step_info: StepInfo = START) -> tuple[Tensor, Tensor]:
    """The loss and the outputs; gradients are left in the parameters."""
    swav.begin_step(step_info)
    outputs_ND = swav.project(features_NF)
    batch = batch_of(len(features_NF) // 2)
    loss = swav.loss(outputs_ND, None, batch, ALONE)
    loss.backward()
    swav.end_step(None, batch, ALONE)
    return loss.detach(), outputs_ND.detach()


def reference_codes(scores: Rows, epsilon: float, iterations: int) -> Rows:
    """Sinkhorn and Knopp as in the listing of the paper: a matrix of sum 1, columns, rows, in turn."""
    count, prototypes = len(scores), len(scores[0])
    total = sum(math.exp(score / epsilon) for row in scores for score in row)
    codes = [[math.exp(score / epsilon) / total for score in row] for row in scores]
    for _ in range(iterations):
        sums = [sum(row[k] for row in codes) for k in range(prototypes)]
        codes = [[row[k] / sums[k] / prototypes for k in range(prototypes)] for row in codes]
        codes = [[share / sum(row) / count for share in row] for row in codes]
    return [[share * count for share in row] for row in codes]


def reference_loss(sides: list[Rows], queues: list[Rows], prototypes: Rows, params: SwavParams) -> float:
    """`sides` are the embeddings of first and second views, `queues` those assigned along."""

    def scores(rows: Rows) -> Rows:
        unit = [[c / math.hypot(*row) for c in row] for row in prototypes]
        return [[sum(x * c for x, c in zip(row, centre, strict=True)) for centre in unit] for row in rows]

    images = len(sides[0])
    total = 0.0
    for predicting, coding in [(0, 1), (1, 0)]:
        assigned = scores(queues[coding] + sides[coding])
        codes = reference_codes(assigned, params.epsilon, params.iterations)[-images:]
        for code, row in zip(codes, scores(sides[predicting]), strict=True):
            normaliser = sum(math.exp(score / TEMPERATURE) for score in row)
            total -= sum(
                share * math.log(math.exp(score / TEMPERATURE) / normaliser)
                for share, score in zip(code, row, strict=True)
            )
    return total / (2 * images)


@settings(max_examples=60)
@given(
    rows=st.integers(1, 9),
    prototypes=st.integers(2, 12),
    epsilon=st.floats(0.03, 2.0),
    iterations=st.integers(1, 6),
    seed=st.integers(0, 100),
)
def test_codes_are_the_paper_s(
    rows: int, prototypes: int, epsilon: float, iterations: int, seed: int
) -> None:
    scores_MK = random(rows, prototypes, seed=seed).tanh()
    codes_MK = sinkhorn_codes(scores_MK, epsilon, iterations)
    expected = torch.tensor(reference_codes(scores_MK.tolist(), epsilon, iterations), dtype=torch.float64)
    torch.testing.assert_close(codes_MK, expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=40)
@given(rows=st.integers(1, 20), prototypes=st.integers(2, 20), seed=st.integers(0, 100))
def test_many_iterations_use_all_prototypes_alike(rows: int, prototypes: int, seed: int) -> None:
    """And equation 5 holds: codes are exp(scores / epsilon) times a factor a row and one a column."""
    scores_MK = random(rows, prototypes, seed=seed).tanh()
    codes_MK = sinkhorn_codes(scores_MK, 0.3, 500)
    torch.testing.assert_close(codes_MK.sum(dim=1), torch.ones(rows, dtype=torch.float64))
    uniform_K = torch.full((prototypes,), rows / prototypes, dtype=torch.float64)
    torch.testing.assert_close(codes_MK.sum(dim=0), uniform_K)
    factors_MK = codes_MK.log() - scores_MK / 0.3
    centred_MK = (
        factors_MK - factors_MK.mean(dim=0) - factors_MK.mean(dim=1, keepdim=True) + factors_MK.mean()
    )
    assert centred_MK.abs().max() < 1e-9


@settings(max_examples=80)
@given(
    size=st.tuples(st.integers(1, 12), st.integers(2, 12)),
    scale=st.sampled_from([0.0, 1.0, 1e2, 1e4]),
    offset=st.sampled_from([0.0, -1e4, 1e4]),
    epsilon=st.sampled_from([1e-4, 0.05, 10.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 100),
)
def test_extreme_scores_give_codes(
    size: tuple[int, int], scale: float, offset: float, epsilon: float, dtype: torch.dtype, seed: int
) -> None:
    scores_MK = (scale * random(*size, seed=seed) + offset).to(dtype)
    codes_MK = sinkhorn_codes(scores_MK, epsilon, 3)
    assert codes_MK.dtype == dtype
    assert codes_MK.isfinite().all()
    assert codes_MK.min() >= 0
    torch.testing.assert_close(codes_MK.sum(dim=1), torch.ones(size[0], dtype=dtype))


def test_equal_rows_are_spread_and_clear_ones_stay() -> None:
    equal = sinkhorn_codes(torch.ones(8, 4), 0.05, 3)
    torch.testing.assert_close(equal, torch.full((8, 4), 0.25))
    clear = sinkhorn_codes(torch.eye(4), 0.05, 3)
    torch.testing.assert_close(clear, torch.eye(4), rtol=0, atol=1e-7)


@settings(max_examples=30)
@given(
    images=st.integers(2, 6),
    epsilon=st.floats(0.05, 1.0),
    iterations=st.integers(1, 4),
    seed=st.integers(0, 100),
)
def test_the_loss_is_its_definition(images: int, epsilon: float, iterations: int, seed: int) -> None:
    swav = objective(epsilon=epsilon, iterations=iterations)
    loss, outputs_ND = one_step(swav, random(2 * images, FEATURES, seed=seed))
    z_ND = swav.embeddings_of(outputs_ND)
    sides = [half.tolist() for half in z_ND.chunk(2)]
    expected = reference_loss(sides, [[], []], swav.prototypes_KD.tolist(), swav.params)
    assert loss.dtype == torch.float64
    assert float(loss) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("length", "queue_from"), [(4, 0.0), (6, 0.0), (6, 0.8), (20, 0.0), (2, 0.5)])
def test_the_queue_is_used_once_it_is_full_and_due(length: int, queue_from: float) -> None:
    """Four images a step, whose own codes alone count; prototypes are those of now."""
    images, steps = 4, 6
    swav, changing = objective(queue=length, queue_from=queue_from), random(PROTOTYPES, DIM, seed=99)
    earlier: list[Rows] = [[], []]
    used = []
    for step in range(steps):
        with torch.no_grad():
            swav.prototypes_KD.add_(changing, alpha=0.3)
        prototypes = swav.prototypes_KD.tolist()
        loss, outputs_ND = one_step(swav, random(2 * images, FEATURES, seed=step), StepInfo(step, steps))
        sides = [half.tolist() for half in swav.embeddings_of(outputs_ND).chunk(2)]
        used.append(step / steps >= queue_from and len(earlier[0]) >= length)
        queues = [rows[-length:] if used[-1] else [] for rows in earlier]
        assert float(loss) == pytest.approx(reference_loss(sides, queues, prototypes, swav.params), rel=1e-9)
        if used[-1]:
            without = reference_loss(sides, [[], []], prototypes, swav.params)
            assert abs(float(loss) - without) > 1e-5
        earlier = [rows + side for rows, side in zip(earlier, sides, strict=True)]
    assert not used[0]
    assert used[-1]


def test_without_a_queue_nothing_is_kept() -> None:
    swav = objective(queue=0)
    one_step(swav, random(8, FEATURES))
    assert swav._seen_GP is None
    assert len(swav.queue) == 0


def test_a_step_leaves_nothing_behind_but_the_queue() -> None:
    swav = objective(queue=6)
    _, outputs_ND = one_step(swav, random(8, FEATURES))
    assert swav._seen_GP is None
    assert not swav.queue.rows.requires_grad
    assert sorted(swav.queue.ids.tolist()) == [0, 1, 2, 3]
    first, second = swav.embeddings_of(outputs_ND).chunk(2)
    torch.testing.assert_close(swav.queue.rows, torch.cat([first, second], dim=1))


def test_outputs_are_unit_embeddings_and_cosines() -> None:
    swav = objective()
    with torch.no_grad():
        swav.prototypes_KD.mul_(torch.arange(1, PROTOTYPES + 1)[:, None])
    features_NF = random(8, FEATURES)
    outputs_ND = swav.project(features_NF)
    z_ND = swav.embeddings_of(outputs_ND)
    assert outputs_ND.shape == (8, DIM + PROTOTYPES)
    torch.testing.assert_close(z_ND, functional.normalize(swav.projector(features_NF), dim=1))
    expected = functional.cosine_similarity(z_ND[:, None], swav.prototypes_KD[None], dim=2)
    torch.testing.assert_close(outputs_ND[:, DIM:], expected)


@pytest.mark.parametrize("queue", [0, 4])
def test_the_gradient_is_that_of_finite_differences_with_codes_as_constants(queue: int) -> None:
    swav = objective(queue=queue)
    features_NF = random(8, FEATURES, seed=1)
    if queue:
        one_step(swav, random(8, FEATURES, seed=2))
        swav.zero_grad()
    with torch.no_grad():
        outputs_ND = swav.project(features_NF)
        assigned = torch.cat([swav.queue.rows, torch.cat(outputs_ND[:, :DIM].chunk(2), dim=1)])
        directions_DK = functional.normalize(swav.prototypes_KD, dim=1).T
        sides = [z_MD @ directions_DK for z_MD in assigned.chunk(2, dim=1)]
        first_BK, second_BK = (sinkhorn_codes(scores_MK, 0.2, 3)[-4:] for scores_MK in sides)
    names, weights = zip(*swav.named_parameters(), strict=True)
    assert "prototypes_KD" in names

    def with_constant_codes(features_NF: Tensor, *weights: Tensor) -> Tensor:
        outputs_ND = torch.func.functional_call(
            _Projecting(swav),
            {f"swav.{name}": weight for name, weight in zip(names, weights, strict=True)},
            features_NF,
        )
        first_log_BK, second_log_BK = (outputs_ND[:, DIM:] / TEMPERATURE).log_softmax(dim=1).chunk(2)
        losses_B = (second_BK * first_log_BK + first_BK * second_log_BK).sum(dim=1)
        loss: Tensor = -losses_B.mean() / 2
        return loss

    leaf_NF = features_NF.clone().requires_grad_()
    assert torch.autograd.gradcheck(with_constant_codes, (leaf_NF, *weights))
    expected_loss = with_constant_codes(leaf_NF, *weights)
    expected = torch.autograd.grad(expected_loss, [leaf_NF, *weights])
    loss, _ = one_step(swav, leaf_NF)
    torch.testing.assert_close(loss, expected_loss.detach(), rtol=1e-12, atol=0)
    for found, gradient in zip([leaf_NF, *weights], expected, strict=True):
        torch.testing.assert_close(found.grad, gradient, rtol=1e-9, atol=1e-12)
    assert swav.prototypes_KD.grad is not None
    assert swav.prototypes_KD.grad.abs().max() > 1e-3


class _Projecting(nn.Module):
    """`project` as a module's forward, in which weights can be replaced."""

    def __init__(self, swav: SwAV) -> None:
        super().__init__()
        self.swav = swav

    def forward(self, features_NF: Tensor) -> Tensor:
        return self.swav.project(features_NF)


def test_frozen_prototypes_stay_while_the_rest_learns() -> None:
    swav = objective(frozen_fraction=0.5)
    optimizer = torch.optim.SGD(swav.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
    start = swav.prototypes_KD.detach().clone()
    for step in range(4):
        before = {name: weight.detach().clone() for name, weight in swav.named_parameters()}
        optimizer.zero_grad()
        one_step(swav, random(16, FEATURES), StepInfo(step, 4))
        gradients = {name: weight.grad for name, weight in swav.named_parameters()}
        optimizer.step()
        frozen = gradients["prototypes_KD"]
        assert frozen is not None
        turn = functional.cosine_similarity(swav.prototypes_KD, start, dim=1).min()
        if step < 2:
            assert frozen.count_nonzero() == 0
            # Weight decay shortens them, which changes no direction and so no score.
            assert swav.prototypes_KD.norm() < start.norm()
            assert turn > 1 - 1e-12
        else:
            assert frozen.abs().max() > 1e-3
            assert turn < 1 - 1e-6
        for name in ("projector.0.weight", "projector.3.weight"):
            assert not torch.equal(swav.get_parameter(name), before[name])
            gradient = gradients[name]
            assert gradient is not None
            assert gradient.count_nonzero() > 0


def test_the_length_of_prototypes_does_not_count() -> None:
    features_NF = random(8, FEATURES)
    expected, _ = one_step(objective(), features_NF)
    swav = objective()
    with torch.no_grad():
        swav.prototypes_KD.mul_(torch.rand(PROTOTYPES, 1) + 0.1)
    torch.testing.assert_close(one_step(swav, features_NF)[0], expected)


def test_it_learns_without_collapse() -> None:
    """Two views of an image differ by noise: each predicts the other's code, and all prototypes are used."""
    swav = objective(queue=16, queue_from=0.2, frozen_fraction=0.1, epsilon=0.05)
    optimizer = torch.optim.AdamW(swav.parameters(), lr=1e-2)
    images = random(14, FEATURES, seed=5)
    losses = []
    for step in range(80):
        optimizer.zero_grad()
        views_NF = images.repeat(2, 1) + 0.05 * random(28, FEATURES, seed=step)
        loss, outputs_ND = one_step(swav, views_NF, StepInfo(step, 80))
        losses.append(float(loss))
        optimizer.step()
    nearest_2B = outputs_ND[:, DIM:].argmax(dim=1).view(2, -1)
    assert losses[-1] < losses[0] / 2
    assert (nearest_2B[0] == nearest_2B[1]).double().mean() > 0.8
    assert len(nearest_2B.unique()) == PROTOTYPES


def test_it_goes_on_where_it_was_saved() -> None:
    """Saved while the queue is half full, so that its count decides which rows are used when."""
    first, second = objective(queue=6), objective(queue=6)
    with torch.no_grad():
        second.prototypes_KD.neg_()
    one_step(first, random(8, FEATURES, seed=0))
    second.load_state_dict(first.state_dict())
    assert len(second.queue) == 4
    for step in range(1, 5):
        losses = [one_step(swav, random(8, FEATURES, seed=step))[0] for swav in (first, second)]
        assert torch.equal(*losses)
    assert torch.equal(first.queue.rows, second.queue.rows)
    assert torch.equal(first.queue.ids, second.queue.ids)


def test_it_is_built_by_its_params() -> None:
    params = PretrainParams(
        objective="swav", projection_dim=5, temperature=0.1, swav=SwavParams(prototypes=11, queue=3)
    )
    swav = SwAV.build(8, params, DataInfo(clusters=1, attributes=0))
    assert swav.target_momentum(StepInfo(0, 1)) is None
    assert swav.temperature == 0.1
    assert swav.project(torch.randn(4, 8)).shape == (4, 5 + 11)
    torch.testing.assert_close(swav.prototypes_KD.norm(dim=1), torch.ones(11))
    assert swav.queue.length == 3


def test_low_precision_is_left_after_the_projector() -> None:
    swav, features_NF = objective(queue=4).float(), random(8, FEATURES).float()
    swav.projector = nn.Sequential(nn.Linear(FEATURES, DIM))
    for step in range(3):
        with torch.autocast("cpu", torch.bfloat16):
            assert swav.projector(features_NF).dtype == torch.bfloat16
            swav.begin_step(StepInfo(step, 3))
            outputs_ND = swav.project(features_NF)
            inside = swav.loss(outputs_ND, None, batch_of(4), ALONE)
        assert outputs_ND.dtype == inside.dtype == torch.float32
        torch.testing.assert_close(outputs_ND[:, :DIM].norm(dim=1), torch.ones(8))
        exact_NK = swav.embeddings_of(outputs_ND) @ functional.normalize(swav.prototypes_KD, dim=1).T
        torch.testing.assert_close(outputs_ND[:, DIM:], exact_NK)
        outside = swav.loss(outputs_ND, None, batch_of(4), ALONE)
        assert torch.equal(inside, outside)
        assert swav.loss(outputs_ND.bfloat16(), None, batch_of(4), ALONE).dtype == torch.float32
        swav.end_step(None, batch_of(4), ALONE)


def test_nothing_waits_for_the_device() -> None:
    swav = objective(queue=4, frozen_fraction=0.3)
    with Operations() as seen:
        for step in range(4):
            one_step(swav, random(8, FEATURES), StepInfo(step, 4))
    assert {"mm", "_log_softmax", "index_copy_"} <= seen.names
    waiting = {"_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "masked_select", "equal"}
    assert not waiting & seen.names


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_without_waiting() -> None:
    params = {"queue": 6, "frozen_fraction": 0.3}
    on_cpu, on_gpu = objective(**params), objective(**params).cuda()
    features = [random(8, FEATURES, seed=step) for step in range(4)]
    expected = [one_step(on_cpu, rows, StepInfo(step, 4))[0] for step, rows in enumerate(features)]
    moved, batch = [rows.cuda() for rows in features], batch_of(4)
    batch = Batch(batch.images_B.cuda(), batch.clusters_B.cuda())
    found = []
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step, rows in enumerate(moved):
            on_gpu.begin_step(StepInfo(step, 4))
            loss = on_gpu.loss(on_gpu.project(rows), None, batch, ALONE)
            loss.backward()
            on_gpu.end_step(None, batch, ALONE)
            found.append(loss.detach())
    finally:
        torch.cuda.set_sync_debug_mode(before)
    torch.testing.assert_close([loss.cpu() for loss in found], expected)
    torch.testing.assert_close(on_gpu.queue.rows.cpu(), on_cpu.queue.rows)
