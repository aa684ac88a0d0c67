"""Every objective against its published formula: value and gradient over random inputs, in float64.

The references are written from the papers' equations, an anchor at a time, and autograd gives their
gradients. docs/objectives.md says how the published code, which was compared too, differs from them.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from pipeline.config.objectives import IcclParams, PclParams, SwavParams
from pipeline.objectives.attribute_prediction import AttributePrediction
from pipeline.objectives.base import Batch, Objective, StepInfo
from pipeline.objectives.byol import BYOL
from pipeline.objectives.cl_infonce import ClInfoNCE, Form
from pipeline.objectives.cmc import CMC
from pipeline.objectives.cross_entropy import CrossEntropy
from pipeline.objectives.dual_head import DualHead
from pipeline.objectives.iccl import ICCL
from pipeline.objectives.moco import MoCo
from pipeline.objectives.multi_head import MultiHead
from pipeline.objectives.pcl import PCL
from pipeline.objectives.simsiam import SimSiam
from pipeline.objectives.soft import Soft
from pipeline.objectives.swav import SwAV
from pipeline.runtime.distributed import ALONE

FEATURES, DIM, HIDDEN, CLUSTERS, ATTRIBUTES, QUEUE = 5, 4, 3, 3, 6, 7
TRAIN_IMAGES, TEMPERATURE = 30, 0.3

several = settings(max_examples=15)
images = st.integers(2, 6)
seeds = st.integers(0, 10_000)


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def unit(rows: Tensor) -> Tensor:
    return rows / rows.square().sum(dim=-1, keepdim=True).sqrt()


def batch_of(count: int, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        torch.randperm(TRAIN_IMAGES, generator=generator)[:count],
        torch.randint(CLUSTERS, (count,), generator=generator),
        torch.randint(-1, 2, (count, ATTRIBUTES), generator=generator).to(torch.int8),
    )


def agree(
    objective: Objective, outputs: Tensor, targets: Tensor | None, batch: Batch, expected: Tensor
) -> None:
    loss = objective.loss(outputs, targets, batch, ALONE)
    torch.testing.assert_close(loss, expected, rtol=1e-13, atol=1e-13)
    found, requested = (
        torch.autograd.grad(value, outputs, retain_graph=True)[0] for value in (loss, expected)
    )
    torch.testing.assert_close(found, requested, rtol=1e-12, atol=1e-14)


def mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean()


def nats(anchor: Tensor, positives: Tensor, candidates: Tensor) -> Tensor:
    """The mean over positives p of -log(exp(a p / t) / sum_c exp(a c / t))."""
    total = (candidates @ anchor / TEMPERATURE).exp().sum()
    return -((positives @ anchor / TEMPERATURE).exp() / total).log().mean()


def among_all_others(rows: Tensor, ids: Tensor, loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    """SupCon's setting: each row an anchor, all others its candidates."""
    z, places = unit(rows), torch.arange(len(rows))
    return mean([loss(z[a], z[(ids == ids[a]) & (places != a)], z[places != a]) for a in places])


def among_the_other_side(x: Tensor, y: Tensor, ids: Tensor) -> Tensor:
    """Each row of either side an anchor, all of the other side its candidates."""
    x, y, places = unit(x), unit(y), range(len(x))
    of_x = mean([nats(x[a], y[ids == ids[a]], y) for a in places])
    of_y = mean([nats(y[a], x[ids == ids[a]], x) for a in places])
    return (of_x + of_y) / 2


def inside_the_logarithm(anchor: Tensor, positives: Tensor, candidates: Tensor) -> Tensor:
    total = (candidates @ anchor / TEMPERATURE).exp().sum()
    return -((positives @ anchor / TEMPERATURE).exp() / total).mean().log()


@pytest.mark.parametrize(("form", "loss"), [("out", nats), ("in", inside_the_logarithm)])
@given(count=images, seed=seeds)
@several
def test_cl_infonce(
    form: Form, loss: Callable[[Tensor, Tensor, Tensor], Tensor], count: int, seed: int
) -> None:
    """SupCon's equations 2 and 3 (arXiv 2004.11362) with clusters for classes (arXiv 2106.02869)."""
    outputs, batch = noise(2 * count, DIM, seed=seed).requires_grad_(), batch_of(count, seed)
    expected = among_all_others(outputs, batch.clusters_N, loss)
    agree(ClInfoNCE(FEATURES, DIM, TEMPERATURE, form=form), outputs, None, batch, expected)


@given(count=images, seed=seeds)
@several
def test_cl_infonce_of_pairs(count: int, seed: int) -> None:
    """The population form of arXiv 2202.06670, with the sum over j where the paper has its mean."""
    outputs, batch = noise(2 * count, DIM, seed=seed).requires_grad_(), batch_of(count, seed)
    x, y = unit(outputs).chunk(2)
    expected = mean([nats(x[a], y[a : a + 1], y) for a in range(count)])
    agree(ClInfoNCE(FEATURES, DIM, TEMPERATURE, form="pair"), outputs, None, batch, expected)


@given(count=images, seed=seeds)
@several
def test_dual_head(count: int, seed: int) -> None:
    """Of the ImageNet-100 code of arXiv 2202.06670: NT-Xent, and clusters between the two sides alone."""
    outputs, batch = noise(2 * count, 2 * DIM, seed=seed).requires_grad_(), batch_of(count, seed)
    first, second = outputs.chunk(2, dim=1)
    by_image = among_all_others(first, batch.images_N, nats)
    one_side, other_side = second.chunk(2)
    by_cluster = among_the_other_side(one_side, other_side, batch.clusters_B)
    agree(DualHead(FEATURES, DIM, HIDDEN, TEMPERATURE), outputs, None, batch, by_image + by_cluster)


@given(count=images, seed=seeds)
@several
def test_cmc(count: int, seed: int) -> None:
    """The contrastive loss of two modalities of arXiv 1906.05849, here the mean of its two directions."""
    outputs, batch = noise(2 * count, 2 * DIM, seed=seed).requires_grad_(), batch_of(count, seed)
    views, attributes = outputs.chunk(2, dim=1)
    sides = zip(views.chunk(2), attributes.chunk(2), strict=True)
    expected = mean([among_the_other_side(*side, batch.images_B) for side in sides])
    agree(CMC(FEATURES, DIM, ATTRIBUTES, HIDDEN, TEMPERATURE), outputs, None, batch, expected)


@given(count=images, seed=seeds, weights=st.lists(st.floats(0.1, 9), min_size=3, max_size=3))
@several
def test_multi_head(count: int, seed: int, weights: list[float]) -> None:
    """SupCon's L_out in each column; an image whose value is not known has its own views as positives."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(-1, 3, (count, 3), generator=generator, dtype=torch.int32)
    batch = replace(batch_of(count, seed), attributes_BA=codes)
    outputs = noise(2 * count, 3 * DIM, seed=seed).requires_grad_()
    terms = []
    for column, head in enumerate(outputs.split(DIM, dim=1)):
        column_values = enumerate(codes[:, column].tolist())
        values = [str(value) if value >= 0 else f"image {image}" for image, value in column_values]
        ids = torch.tensor([values.index(value) for value in values])
        terms.append(weights[column] * among_all_others(head, ids.repeat(2), nats))
    expected = torch.stack(terms).sum() / sum(weights)
    agree(MultiHead(FEATURES, DIM, TEMPERATURE, weights), outputs, None, batch, expected)


@given(count=images, seed=seeds)
@several
def test_soft(count: int, seed: int) -> None:
    """Each pair by its own sets of values."""
    outputs, batch = noise(2 * count, DIM, seed=seed).requires_grad_(), batch_of(count, seed)
    assert batch.attributes_BA is not None
    rows = batch.attributes_BA.tolist()
    sets = [{place for place, held in enumerate(row) if held == 1} for row in rows] * 2
    z, terms = unit(outputs), []
    for anchor in range(2 * count):
        others = [view for view in range(2 * count) if view != anchor]
        total = (z[others] @ z[anchor] / TEMPERATURE).exp().sum()
        weights, losses = [], []
        for view in others:
            united = sets[anchor] | sets[view]
            overlap = len(sets[anchor] & sets[view]) / len(united) if united else 0.0
            weights.append(1.0 if view % count == anchor % count else overlap)
            losses.append(-((z[view] @ z[anchor] / TEMPERATURE).exp() / total).log())
        terms.append((torch.tensor(weights, dtype=torch.float64) * torch.stack(losses)).sum() / sum(weights))
    agree(Soft(FEATURES, DIM, TEMPERATURE), outputs, None, batch, mean(terms))


@given(count=images, seed=seeds)
@several
def test_soft_of_one_value_each_is_cl_infonce(count: int, seed: int) -> None:
    outputs, batch = noise(2 * count, DIM, seed=seed).requires_grad_(), batch_of(count, seed)
    one_each = functional.one_hot(batch.clusters_B, CLUSTERS).to(torch.int8)
    expected = ClInfoNCE(FEATURES, DIM, TEMPERATURE).loss(outputs, None, batch, ALONE)
    agree(Soft(FEATURES, DIM, TEMPERATURE), outputs, None, replace(batch, attributes_BA=one_each), expected)


def momentum_contrast(outputs: Tensor, keys: Tensor, ids: Tensor, queue: Tensor, queued: Tensor) -> Tensor:
    """Each view against its other view's key and the queue: no other key of the batch is looked at."""
    queries, own = unit(outputs), unit(keys).roll(len(keys) // 2, dims=0)
    losses = []
    for view, query in enumerate(queries):
        key = own[view : view + 1]
        positives = torch.cat([key, queue[queued == ids[view]]])
        losses.append(nats(query, positives, torch.cat([key, queue])))
    return mean(losses)


@pytest.mark.parametrize("queued", [[90, 91, 92, 93, 94, 95, 96], [0, 1, 2, 0, 1, 2, 0]], ids=str)
@given(count=images, seed=seeds)
@several
def test_moco(queued: list[int], count: int, seed: int) -> None:
    """Equation 1 of arXiv 1911.05722 where the queue holds no such id; SupCon's L_out where it does."""
    objective = MoCo(FEATURES, DIM, TEMPERATURE, queue=QUEUE, momentum=0.9).double()
    queue, ids = unit(noise(QUEUE, DIM, seed=seed + 1)), torch.tensor(queued)
    objective.queue.put(queue, ids)
    outputs, keys = noise(2 * count, DIM, seed=seed).requires_grad_(), noise(2 * count, DIM, seed=seed + 2)
    batch = batch_of(count, seed)
    expected = momentum_contrast(outputs, keys, batch.clusters_N, queue, ids)
    agree(objective, outputs, keys, batch, expected)


@given(count=images, seed=seeds)
@several
def test_pcl(count: int, seed: int) -> None:
    """Equation 11 of arXiv 2005.04966, with all other prototypes as negatives."""
    params = PclParams(clusters=[3, 8], negatives=100, queue=QUEUE, warmup_fraction=0.0)
    objective = PCL(FEATURES, DIM, TEMPERATURE, params, epochs=2).double()
    embeddings = unit(noise(TRAIN_IMAGES, DIM, seed=seed + 1)).float()
    objective.begin_epoch(1, lambda: embeddings, ALONE, seed)
    queue, ids = unit(noise(QUEUE, DIM, seed=seed + 2)), torch.arange(QUEUE) + TRAIN_IMAGES
    objective.queue.put(queue, ids)
    outputs, keys = noise(2 * count, DIM, seed=seed).requires_grad_(), noise(2 * count, DIM, seed=seed + 3)
    batch = batch_of(count, seed)
    of_prototypes = []
    clusterings = zip(
        objective._prototypes_SD.double().split(objective._sizes),
        objective._phi_S.double().split(objective._sizes),
        objective._owns_MI,
        strict=True,
    )
    for prototypes, phi, own in clusterings:
        scores = (unit(outputs) @ prototypes.T / phi).exp()
        shares = scores / scores.sum(dim=1, keepdim=True)
        of_prototypes += [-shares[view, own[image]].log() for view, image in enumerate(batch.images_N)]
    expected = momentum_contrast(outputs, keys, batch.images_N, queue, ids) + mean(of_prototypes)
    agree(objective, outputs, keys, batch, expected)


def scaled(kernel: Tensor, iterations: int) -> Tensor:
    """Sinkhorn and Knopp: of the rows' and columns' scales, alternately, what makes their sums alike."""
    rows, prototypes = kernel.shape
    row_scales = kernel.new_ones(rows)
    for _ in range(iterations):
        column_scales = rows / prototypes / (row_scales @ kernel)
        row_scales = 1 / (kernel @ column_scales)
    return row_scales[:, None] * kernel * column_scales


@pytest.mark.parametrize("queue", [0, QUEUE])
@given(count=images, seed=seeds)
@several
def test_swav(queue: int, count: int, seed: int) -> None:
    """Equations 1 to 5 of arXiv 2006.09882, halved as in the published code."""
    params = SwavParams(prototypes=5, epsilon=0.1, queue=queue, queue_from=0.0, frozen_fraction=0.0)
    objective = SwAV(FEATURES, DIM, TEMPERATURE, params).double()
    objective.begin_step(StepInfo(1, 2))
    prototypes = unit(objective.prototypes_KD.detach())
    earlier = unit(noise(queue, 2, DIM, seed=seed + 1))
    objective.queue.put(earlier.flatten(1), torch.arange(queue))
    views = unit(noise(2 * count, DIM, seed=seed))
    outputs = torch.cat([views, noise(2 * count, 5, seed=seed + 2)], dim=1).requires_grad_()
    codes = [
        scaled((torch.cat([earlier[:, side], of_side]) @ prototypes.T / 0.1).exp(), 3)[queue:]
        for side, of_side in enumerate(views.chunk(2))
    ]
    shares = (outputs[:, DIM:] / TEMPERATURE).exp()
    shares = shares / shares.sum(dim=1, keepdim=True)
    expected = -(torch.cat(codes[::-1]) * shares.log()).sum(dim=1).mean()
    agree(objective, outputs, None, batch_of(count, seed), expected)


def distance(outputs: Tensor, targets: Tensor) -> Tensor:
    """BYOL's equation 2 in both directions: 2 - 2 cos for each view, summed over an image's two."""
    predictions, targets = unit(outputs[:, :DIM]), unit(targets).roll(len(targets) // 2, dims=0)
    return 2 * (2 - 2 * (predictions * targets).sum(dim=1)).mean()


@given(count=images, seed=seeds)
@several
def test_byol(count: int, seed: int) -> None:
    outputs = noise(2 * count, 2 * DIM, seed=seed).requires_grad_()
    targets = noise(2 * count, DIM, seed=seed + 1)
    agree(
        BYOL(FEATURES, DIM, HIDDEN, 0.9), outputs, targets, batch_of(count, seed), distance(outputs, targets)
    )


@given(count=images, seed=seeds)
@several
def test_simsiam(count: int, seed: int) -> None:
    """Equation 4 of arXiv 2011.10566: half the sum of two negative cosines."""
    outputs = noise(2 * count, 2 * DIM, seed=seed).requires_grad_()
    (p1, z1), (p2, z2) = (unit(view.unflatten(1, (2, DIM))).unbind(dim=1) for view in outputs.chunk(2))
    expected = -((p1 * z2.detach()).sum(dim=1) + (p2 * z1.detach()).sum(dim=1)).mean() / 2
    agree(SimSiam(FEATURES, DIM, HIDDEN), outputs, None, batch_of(count, seed), expected)


@pytest.mark.parametrize(
    ("epoch", "weight"), [(0, 0), (149, 0), (150, 0), (153, 0.1), (165, 0.5), (180, 1), (299, 1)]
)
@given(count=images, seed=seeds)
@several
def test_iccl(epoch: int, weight: float, count: int, seed: int) -> None:
    """Total loss of arXiv 2301.03041 over its 300 epochs: s (rho L_u + L_ce) + (1 - s) L_sim."""
    objective = ICCL(FEATURES, DIM, IcclParams(hidden=HIDDEN, uniformity=5.0))
    objective.begin_step(StepInfo(epoch, 300))
    outputs = noise(2 * count, 2 * DIM, seed=seed).requires_grad_()
    targets = noise(2 * count, DIM, seed=seed + 1)
    n = (unit(outputs[:, :DIM]) / 0.1).softmax(dim=1)
    m = (unit(targets) / 0.07).softmax(dim=1).roll(count, dims=0)
    cross_entropy = -(m * n.log()).sum(dim=1).mean()
    uniform = torch.full((DIM,), 1 / DIM, dtype=torch.float64)
    uniformity = (uniform * (uniform / n.mean(dim=0)).log()).sum()
    expected = weight * (5 * uniformity + cross_entropy) + (1 - weight) * distance(outputs, targets)
    agree(objective, outputs, targets, batch_of(count, seed), expected)


@given(count=images, seed=seeds)
@several
def test_cross_entropy(count: int, seed: int) -> None:
    outputs, batch = noise(2 * count, FEATURES + CLUSTERS, seed=seed).requires_grad_(), batch_of(count, seed)
    shares = outputs[:, FEATURES:].exp() / outputs[:, FEATURES:].exp().sum(dim=1, keepdim=True)
    expected = mean([-shares[view, cluster].log() for view, cluster in enumerate(batch.clusters_N)])
    agree(CrossEntropy(FEATURES, CLUSTERS), outputs, None, batch, expected)


@given(count=images, seed=seeds)
@several
def test_attribute_prediction(count: int, seed: int) -> None:
    """The mean over what is known of the binary cross-entropy."""
    batch = batch_of(count, seed)
    outputs = noise(2 * count, FEATURES + ATTRIBUTES, seed=seed).requires_grad_()
    assert batch.attributes_BA is not None
    shares = 1 / (1 + (-outputs[:, FEATURES:]).exp())
    terms = [
        -attribute * share.log() - (1 - attribute) * (1 - share).log()
        for row, known in zip(shares, batch.attributes_BA.repeat(2, 1).tolist(), strict=True)
        for share, attribute in zip(row, known, strict=True)
        if attribute >= 0
    ]
    agree(AttributePrediction(FEATURES, ATTRIBUTES), outputs, None, batch, mean(terms))
