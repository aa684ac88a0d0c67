"""The loss against slow references in float64, its gradient, and its special cases."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from pipeline.objectives.cl_infonce import ClInfoNCE, Form, cl_infonce_loss


def reference(embeddings: Tensor, clusters: list[int], temperature: float, form: Form) -> float:
    """The definition, term by term."""
    vectors = [[float(x) for x in row] for row in embeddings]
    unit = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in vectors]

    def similarity(a: int, b: int) -> float:
        return sum(x * y for x, y in zip(unit[a], unit[b], strict=True)) / temperature

    losses = []
    for anchor in range(len(unit)):
        others = [other for other in range(len(unit)) if other != anchor]
        positives = [other for other in others if clusters[other] == clusters[anchor]]
        if not positives:
            continue
        total = sum(math.exp(similarity(anchor, other)) for other in others)
        shares = [math.exp(similarity(anchor, p)) / total for p in positives]
        if form == "out":
            losses.append(-sum(math.log(share) for share in shares) / len(shares))
        else:
            losses.append(-math.log(sum(shares) / len(shares)))
    return sum(losses) / len(losses) if losses else 0.0


def embeddings(count: int, dim: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(count, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=60, deadline=None)
@given(
    clusters=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    temperature=st.floats(0.05, 2.0),
    form=st.sampled_from(["out", "in"]),
    seed=st.integers(0, 100),
)
def test_it_is_its_definition(clusters: list[int], temperature: float, form: Form, seed: int) -> None:
    z = embeddings(len(clusters), seed=seed)
    loss = cl_infonce_loss(z, torch.tensor(clusters), temperature, form)
    assert loss.dtype == torch.float64
    assert float(loss.detach()) == pytest.approx(
        reference(z, clusters, temperature, form), rel=1e-9, abs=1e-9
    )


@pytest.mark.parametrize("form", ["out", "in"])
@pytest.mark.parametrize("clusters", [[0, 0, 1, 1, 2], [0, 1, 2, 3, 4], [0, 0, 0, 0, 0]])
def test_the_gradient_is_that_of_finite_differences(form: Form, clusters: list[int]) -> None:
    z = embeddings(5).requires_grad_()
    ids = torch.tensor(clusters)
    assert torch.autograd.gradcheck(lambda x: cl_infonce_loss(x, ids, 0.3, form), z)


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


def test_anchors_without_positives_neither_count_nor_spoil_the_gradient() -> None:
    z = embeddings(5).requires_grad_()
    loss = cl_infonce_loss(z, torch.tensor([0, 0, 1, 2, 3]), 0.1)
    (gradient,) = torch.autograd.grad(loss, z)
    assert gradient.isfinite().all()
    assert float(loss.detach()) == pytest.approx(reference(z.detach(), [0, 0, 1, 2, 3], 0.1, "out"))
    lonely = cl_infonce_loss(z, torch.arange(5), 0.1)
    assert float(lonely.detach()) == 0.0
    assert torch.autograd.grad(lonely, z)[0].count_nonzero() == 0


@given(st.permutations(list(range(10))), st.integers(1, 50))
@settings(max_examples=20, deadline=None)
def test_order_names_and_scale_do_not_matter(order: list[int], offset: int) -> None:
    z, clusters = embeddings(10), torch.tensor([0, 0, 1, 1, 1, 2, 3, 3, 4, 4])
    loss = cl_infonce_loss(z, clusters, 0.1)
    shuffled = cl_infonce_loss(3 * z[order], clusters[order] * 7 + offset, 0.1)
    torch.testing.assert_close(loss, shuffled)


def test_low_precision_inputs_are_computed_in_float32() -> None:
    z = embeddings(16).bfloat16()
    clusters = torch.arange(8).repeat(2)
    expected = cl_infonce_loss(z.float(), clusters, 0.07)
    with torch.autocast("cpu", torch.bfloat16):
        loss = cl_infonce_loss(z, clusters, 0.07)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected)


def test_the_module_embeds_where_it_compares() -> None:
    torch.manual_seed(0)
    objective = ClInfoNCE(feature_dim=6, projection_dim=4, temperature=0.2)
    features, clusters = torch.randn(8, 6), torch.tensor([0, 1, 2, 3] * 2)
    z = objective.embed(features)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(8))
    torch.testing.assert_close(objective(features, clusters), cl_infonce_loss(z, clusters, 0.2))
