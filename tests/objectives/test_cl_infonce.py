"""The loss against slow references in float64, its gradient, its memory, and its special cases."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from operations import Operations
from pipeline.objectives.base import Batch
from pipeline.objectives.cl_infonce import ClInfoNCE, Form, cl_infonce_loss
from pipeline.objectives.tiled_logits import TILE_SIDE
from pipeline.runtime.distributed import ALONE

FORMS: list[Form] = ["out", "in", "across", "pair"]
TWO_SIDED = ("across", "pair")
INT64 = torch.iinfo(torch.int64)


def reference(embeddings: Tensor, clusters: list[int], temperature: float, form: Form) -> float:
    """The definition, term by term."""
    vectors = [[float(x) for x in row] for row in embeddings]
    unit = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in vectors]

    def similarity(a: int, b: int) -> float:
        return sum(x * y for x, y in zip(unit[a], unit[b], strict=True)) / temperature

    losses = []
    if form == "pair":
        half = len(unit) // 2
        for x in range(half):
            total = sum(math.exp(similarity(x, y)) for y in range(half, 2 * half))
            losses.append(-math.log(math.exp(similarity(x, x + half)) / total))
        return sum(losses) / half
    if form == "across":
        clusters = clusters[: len(unit) // 2] * 2
    for anchor in range(len(unit)):
        others = [other for other in range(len(unit)) if other != anchor]
        if form == "across":
            half = len(unit) // 2
            others = [other for other in others if (other < half) != (anchor < half)]
        positives = [other for other in others if clusters[other] == clusters[anchor]]
        if not positives:
            continue
        total = sum(math.exp(similarity(anchor, other)) for other in others)
        shares = [math.exp(similarity(anchor, p)) / total for p in positives]
        if form == "in":
            losses.append(-math.log(sum(shares) / len(shares)))
        else:
            losses.append(-sum(math.log(share) for share in shares) / len(shares))
    return sum(losses) / len(losses) if losses else 0.0


def textbook(embeddings_ND: Tensor, clusters_N: Tensor, temperature: float, form: Form) -> Tensor:
    """The same with all N x N logits at once, so that autograd gives the gradient."""
    z_ND = functional.normalize(embeddings_ND, dim=1)
    if form == "pair":
        x_PD, y_PD = z_ND.chunk(2)
        return functional.cross_entropy(x_PD @ y_PD.T / temperature, torch.arange(len(x_PD)))
    excluded_NN = torch.eye(len(z_ND), dtype=torch.bool)
    if form == "across":
        pairs = len(z_ND) // 2
        second_N = torch.arange(2 * pairs) >= pairs
        excluded_NN, clusters_N = second_N[:, None] == second_N, clusters_N[:pairs].repeat(2)
    # A finite floor instead of -inf keeps the gradient of rows with nothing to sum at zero, not NaN.
    floor = torch.finfo(z_ND.dtype).min
    logits_NN = (z_ND @ z_ND.T / temperature).masked_fill(excluded_NN, floor)
    positive_NN = (clusters_N[:, None] == clusters_N[None, :]) & ~excluded_NN
    positives_N = positive_NN.sum(dim=1)
    divisor_N = positives_N.clamp(min=1).to(z_ND.dtype)
    if form == "in":
        log_positive_N = logits_NN.masked_fill(~positive_NN, floor).logsumexp(dim=1) - divisor_N.log()
    else:
        log_positive_N = torch.where(positive_NN, logits_NN, 0.0).sum(dim=1) / divisor_N
    counted_N = positives_N > 0
    losses_N = torch.where(counted_N, logits_NN.logsumexp(dim=1) - log_positive_N, 0.0)
    return losses_N.sum() / counted_N.sum().clamp(min=1)


def embeddings(count: int, dim: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(count, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def with_gradient(function: Any, embeddings_ND: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    leaf_ND = embeddings_ND.clone().requires_grad_()
    loss = function(leaf_ND, *arguments)
    (gradient_ND,) = torch.autograd.grad(loss, leaf_ND)
    return loss.detach(), gradient_ND


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())


@contextmanager
def tiles_of(side: int) -> Iterator[None]:
    with patch.dict(TILE_SIDE, cpu=side):
        yield


@settings(max_examples=60)
@given(
    clusters=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    temperature=st.floats(0.05, 2.0),
    form=st.sampled_from(FORMS),
    seed=st.integers(0, 100),
)
def test_it_is_its_definition(clusters: list[int], temperature: float, form: Form, seed: int) -> None:
    clusters = clusters * 2 if form in TWO_SIDED else clusters
    z = embeddings(len(clusters), seed=seed)
    loss = cl_infonce_loss(z, torch.tensor(clusters), temperature, form)
    assert loss.dtype == torch.float64
    assert float(loss) == pytest.approx(reference(z, clusters, temperature, form), rel=1e-9, abs=1e-9)


@settings(max_examples=120)
@given(
    clusters=st.lists(st.sampled_from([INT64.min, -3, 0, 1, 2, INT64.max]), min_size=1, max_size=25),
    side=st.integers(1, 9),
    temperature=st.sampled_from([0.01, 0.1, 1.0]),
    form=st.sampled_from(FORMS),
    seed=st.integers(0, 100),
)
def test_tiles_change_neither_loss_nor_gradient(
    clusters: list[int], side: int, temperature: float, form: Form, seed: int
) -> None:
    ids = torch.tensor(clusters * 2 if form in TWO_SIDED else clusters)
    z = embeddings(len(ids), seed=seed)
    expected, expected_gradient = with_gradient(textbook, z, ids, temperature, form)
    with tiles_of(side):
        loss, gradient = with_gradient(cl_infonce_loss, z, ids, temperature, form)
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("clusters", [150, 10, 2])
@pytest.mark.parametrize("temperature", [0.01, 0.1])
def test_float32_is_as_exact_as_its_digits_allow(form: Form, clusters: int, temperature: float) -> None:
    """One view faces away from all others: their exponentials must not vanish beside those of the rest."""
    z, ids = embeddings(300, dim=32), torch.arange(300) % clusters
    z[0] = -z[1:].mean(dim=0)
    expected, expected_gradient = with_gradient(textbook, z, ids, temperature, form)
    with tiles_of(128):
        loss, gradient = with_gradient(cl_infonce_loss, z.float(), ids, temperature, form)
    assert loss.dtype == gradient.dtype == torch.float32
    assert relative_error(loss, expected) < 5e-6
    assert relative_error(gradient, expected_gradient) < 1e-5


def test_one_cluster_leaves_nothing_to_find() -> None:
    """-log(mean_p exp s_p / sum_a exp s_a) with all others positive."""
    loss, gradient = with_gradient(cl_infonce_loss, embeddings(300), torch.zeros(300).long(), 0.1, "in")
    assert float(loss) == pytest.approx(math.log(299))
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("form", FORMS)
def test_close_vectors_keep_the_digits_of_their_gradient(form: Form) -> None:
    """As a new encoder makes them: attraction and repulsion all but cancel."""
    z, ids = 1 + 0.05 * embeddings(512, dim=32), torch.arange(512) % 4
    _, expected = with_gradient(textbook, z, ids, 0.1, form)
    _, gradient = with_gradient(cl_infonce_loss, z.float(), ids, 0.1, form)
    _, rounded = with_gradient(textbook, z.float(), ids, 0.1, form)
    assert relative_error(gradient, expected) < 3 * relative_error(rounded, expected)


@pytest.mark.parametrize("form", FORMS)
def test_views_that_face_each_other_away_are_no_underflow(form: Form) -> None:
    """At 1 / temperature = 200 the logits span 400; exp alone spans 190 in float32."""
    axis = torch.tensor([1.0, 0.0], dtype=torch.float64)
    z = torch.stack([axis, axis, -axis, axis, axis, -axis]) + 0.01 * embeddings(6, dim=2)
    ids = torch.tensor([0, 1, 0, 0, 1, 0])
    expected, expected_gradient = with_gradient(textbook, z, ids, 0.005, form)
    loss, gradient = with_gradient(cl_infonce_loss, z.float(), ids, 0.005, form)
    assert relative_error(loss, expected) < 1e-5
    assert relative_error(gradient, expected_gradient) < 1e-3


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("clusters", [[0, 0, 1, 1, 2, 2], [0, 1, 2, 3, 4, 5], [0] * 6, [0, 0, 0, 1, 1, 2]])
def test_the_gradient_is_that_of_finite_differences(form: Form, clusters: list[int]) -> None:
    z = embeddings(6).requires_grad_()
    ids = torch.tensor(clusters)
    assert torch.autograd.gradcheck(lambda x: 3 * cl_infonce_loss(x, ids, 0.3, form), z)


@pytest.mark.parametrize("form", ["out", "in"])
def test_unique_ids_give_nt_xent(form: Form) -> None:
    """SimCLR's loss (Chen et al. 2020, equation 1) as a cross-entropy over the other views."""
    z = embeddings(12)
    unit = functional.normalize(z, dim=1)
    logits = (unit @ unit.T / 0.2).masked_fill(torch.eye(12, dtype=torch.bool), float("-inf"))
    partner = torch.arange(12).roll(6)
    expected = functional.cross_entropy(logits, partner)
    torch.testing.assert_close(cl_infonce_loss(z, torch.arange(6).repeat(2), 0.2, form), expected)


def test_the_forms_agree_where_each_anchor_has_one_positive_only() -> None:
    z = embeddings(8)
    pairs, triples = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]), torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])
    assert cl_infonce_loss(z, pairs, 0.1, "out") == pytest.approx(float(cl_infonce_loss(z, pairs, 0.1, "in")))
    # Jensen: the logarithm of the mean is at least the mean of the logarithms.
    assert cl_infonce_loss(z, triples, 0.1, "in") < cl_infonce_loss(z, triples, 0.1, "out")


@pytest.mark.parametrize("form", ["out", "in"])
def test_anchors_without_positives_neither_count_nor_spoil_the_gradient(form: Form) -> None:
    z = embeddings(5)
    loss, gradient = with_gradient(cl_infonce_loss, z, torch.tensor([0, 0, 1, 2, 3]), 0.1, form)
    assert gradient.isfinite().all()
    assert float(loss) == pytest.approx(reference(z, [0, 0, 1, 2, 3], 0.1, form))
    lonely, nothing = with_gradient(cl_infonce_loss, z, torch.arange(5), 0.1, form)
    assert float(lonely) == 0.0
    assert nothing.count_nonzero() == 0


def test_pairs_look_at_no_clusters() -> None:
    z = embeddings(6)
    one, other = (cl_infonce_loss(z, ids, 0.1, "pair") for ids in (torch.arange(6), torch.zeros(6).long()))
    assert one == other > 0


@pytest.mark.parametrize("form", TWO_SIDED)
def test_two_sides_have_as_many_rows(form: Form) -> None:
    with pytest.raises(ValueError, match=f"`{form}` takes an even number of rows, not 5"):
        cl_infonce_loss(embeddings(5), torch.arange(5), 0.1, form)


def test_across_with_unique_ids_is_pair_in_both_directions() -> None:
    z, ids = embeddings(12), torch.arange(6).repeat(2)
    of_x, of_y = (cl_infonce_loss(rows, ids, 0.1, "pair") for rows in (z, z.roll(6, dims=0)))
    torch.testing.assert_close(cl_infonce_loss(z, ids, 0.1, "across"), (of_x + of_y) / 2)


@given(st.permutations(list(range(10))), st.integers(1, 50))
@settings(max_examples=20)
def test_order_names_and_scale_do_not_matter(order: list[int], offset: int) -> None:
    z, clusters = embeddings(10), torch.tensor([0, 0, 1, 1, 1, 2, 3, 3, 4, 4])
    loss = cl_infonce_loss(z, clusters, 0.1)
    shuffled = cl_infonce_loss(3 * z[order], clusters[order] * 7 + offset, 0.1)
    torch.testing.assert_close(loss, shuffled)


@pytest.mark.parametrize("form", FORMS)
def test_strides_and_integer_types_do_not_matter(form: Form) -> None:
    z, clusters = embeddings(16), torch.arange(16) // 3
    expected = with_gradient(cl_infonce_loss, z[::2], clusters[::2].clone(), 0.1, form)
    wide = embeddings(16).T.contiguous().T
    strided = with_gradient(cl_infonce_loss, wide[::2], clusters.int()[::2], 0.1, form)
    torch.testing.assert_close(strided, expected)


@pytest.mark.parametrize("form", FORMS)
def test_low_precision_inputs_are_computed_in_float32(form: Form) -> None:
    z = embeddings(16).bfloat16()
    clusters = torch.arange(8).repeat(2)
    expected, expected_gradient = with_gradient(cl_infonce_loss, z.float(), clusters, 0.07, form)
    with torch.autocast("cpu", torch.bfloat16):
        loss, gradient = with_gradient(cl_infonce_loss, z, clusters, 0.07, form)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, expected_gradient.bfloat16())


@pytest.mark.parametrize("form", FORMS)
def test_no_tensor_is_the_matrix_of_logits_and_nothing_waits_for_the_device(form: Form) -> None:
    views = 4096
    columns = views // 2 if form in TWO_SIDED else TILE_SIDE["cpu"]
    leaf = embeddings(views, dim=8).float().requires_grad_()
    with Operations() as seen:
        cl_infonce_loss(leaf, torch.arange(views) % 100, 0.1, form).backward()
    assert leaf.grad is not None
    assert {"mm", "addmm_"} <= seen.names
    assert seen.largest <= TILE_SIDE["cpu"] * columns <= views**2 / 16
    waiting = {"_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "masked_select", "equal"}
    assert not waiting & seen.names


@pytest.mark.parametrize("form", FORMS)
def test_without_gradient_the_second_pass_is_left_out(form: Form) -> None:
    z, clusters = embeddings(8), torch.arange(8) % 3
    with Operations() as seen:
        loss = cl_infonce_loss(z, clusters, 0.1, form)
    assert "addmm_" not in seen.names
    torch.testing.assert_close(loss, with_gradient(cl_infonce_loss, z, clusters, 0.1, form)[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("form", FORMS)
def test_a_gpu_gives_the_same_without_waiting(form: Form) -> None:
    z, clusters = embeddings(100), torch.arange(100) % 7
    expected = with_gradient(cl_infonce_loss, z, clusters, 0.1, form)
    on_gpu = z.cuda(), clusters.cuda()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = with_gradient(cl_infonce_loss, *on_gpu, 0.1, form)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    torch.testing.assert_close([tensor.cpu() for tensor in found], list(expected))


@pytest.mark.parametrize("form", FORMS)
def test_the_objective_compares_views_by_their_images_clusters(form: Form) -> None:
    torch.manual_seed(0)
    objective = ClInfoNCE(6, 4, 0.2, form=form)
    outputs = objective.project(torch.randn(8, 6))
    clusters = torch.tensor([0, 1, 2, 2])
    loss = objective.loss(outputs, None, Batch(torch.arange(4), clusters), ALONE)
    torch.testing.assert_close(loss, textbook(outputs, clusters.repeat(2), 0.2, form))
