"""PCL's prototypes, concentrations and negatives against slow references; saving; ranks and one process."""

import io
import math
from collections import Counter
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from pipeline.config.objectives import PclParams
from pipeline.config.pretrain import PretrainParams
from pipeline.kmeans import KMeans, fit_kmeans_each
from pipeline.objectives.base import Batch, DataInfo, StepInfo
from pipeline.objectives.moco import MoCo
from pipeline.objectives.pcl import PCL, concentrations, drawn, proto_nce
from pipeline.runtime.distributed import ALONE, Ranks
from pipeline.runtime.seeding import derived_seed
from processes import in_ranks

FEATURES, DIM, TEMPERATURE, EPOCHS, SEED = 6, 4, 0.3, 10, 77
TRAIN_IMAGES, IMAGES, STEPS, COUNT = 40, 6, 3, 2
PARAMS = PclParams(clusters=[5, 12], negatives=3, queue=20, warmup_fraction=0.2)


def pcl(params: PclParams = PARAMS, epochs: int = EPOCHS) -> PCL:
    torch.manual_seed(0)
    return PCL(FEATURES, DIM, TEMPERATURE, params, epochs=epochs).double()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def embed(count: int = TRAIN_IMAGES) -> Tensor:
    return functional.normalize(noise(count, DIM, seed=5), dim=1).float()


def never() -> NoReturn:
    raise AssertionError("no embeddings are needed")


def begun(objective: PCL, *, step: int = 5) -> PCL:
    """In the midst of an epoch after the warm-up, with keys in the queue."""
    objective.begin_epoch(4, embed, ALONE, SEED)
    objective.begin_step(StepInfo(step, 100))
    objective.queue.put(functional.normalize(noise(7, DIM, seed=8), dim=1), torch.arange(7) + 10)
    return objective


def batch() -> Batch:
    return Batch(torch.tensor([30, 2, 11, 39, 0, 17]), torch.zeros(IMAGES, dtype=torch.int64))


def outputs_and_targets() -> tuple[Tensor, Tensor]:
    return noise(2 * IMAGES, DIM, seed=1), noise(2 * IMAGES, DIM, seed=2)


def infonce_of(objective: PCL, outputs: Tensor, targets: Tensor) -> Tensor:
    """What MoCo makes of image ids."""
    plain = MoCo(FEATURES, DIM, TEMPERATURE, queue=20, momentum=0.9).double()
    plain.queue.load_state_dict(objective.queue.state_dict())
    ids = batch().images_B
    return plain.loss(outputs, targets, Batch(ids, ids), ALONE)


def reference_proto_nce(
    query: list[float], prototypes: list[list[float]], phi: list[float], own: int, negatives: list[int]
) -> float:
    def score(place: int) -> float:
        return math.exp(sum(x * y for x, y in zip(query, prototypes[place], strict=True)) / phi[place])

    return -math.log(score(own) / (score(own) + sum(score(place) for place in negatives)))


def reference_phi(
    points: Tensor, fitted: KMeans, smoothing: float, percentiles: tuple[int, int]
) -> list[float]:
    """After the published code: a loop over clusters, then numpy."""
    phi: list[float | None] = []
    for cluster, centroid in enumerate(fitted.centroids_KD.tolist()):
        members = [
            point
            for point, label in zip(points.tolist(), fitted.labels_N.tolist(), strict=True)
            if label == cluster
        ]
        mean = sum(math.dist(member, centroid) for member in members) / len(members)
        phi.append(None if len(members) == 1 else mean / math.log(len(members) + smoothing))
    largest = max(value for value in phi if value is not None)
    whole = np.array([largest if value is None else value for value in phi])
    low, high = np.percentile(whole, percentiles)
    clipped = whole.clip(low, high)
    return [float(value) for value in TEMPERATURE * clipped / clipped.mean()]


def clustering(sizes: list[int], seed: int) -> tuple[Tensor, KMeans]:
    """Points around centroids, each cluster as wide as it pleases, in mixed order."""
    centroids = noise(len(sizes), DIM, seed=seed)
    labels = torch.cat([torch.full((size,), cluster) for cluster, size in enumerate(sizes)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    widths = noise(len(sizes), seed=seed + 1).exp()
    points = centroids[labels] + widths[labels, None] * noise(len(labels), DIM, seed=seed + 2)
    return points, KMeans(labels, centroids, 0.0, 1)


@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=15).filter(lambda sizes: max(sizes) > 1),
    smoothing=st.sampled_from([0.5, 10.0]),
    seed=st.integers(0, 1000),
)
def test_concentrations_are_their_definition(sizes: list[int], smoothing: float, seed: int) -> None:
    points, fitted = clustering(sizes, seed)
    found = concentrations(points, fitted, smoothing, TEMPERATURE)
    assert found.tolist() == pytest.approx(reference_phi(points, fitted, smoothing, (10, 90)), rel=1e-9)
    assert float(found.mean()) == pytest.approx(TEMPERATURE)


def test_singletons_take_the_largest_concentration_and_extremes_are_clipped() -> None:
    """What the reference above must be able to tell."""
    sizes = [1, 4, 5, 1, 3, 6, 2, 4, 3, 3, 5, 4]
    points, fitted = clustering(sizes, 3)
    found = concentrations(points, fitted, 10.0, TEMPERATURE)
    assert float(found[0]) == float(found[3]) == float(found.max())
    assert found.tolist() != pytest.approx(reference_phi(points, fitted, 10.0, (0, 100)), rel=0.05)


@pytest.mark.parametrize("apart", [0, 3])
def test_images_on_one_point_divide_nothing_by_zero(apart: int) -> None:
    """Copies of an image, or embeddings that have collapsed; all but `apart` of ten clusters."""
    labels = torch.arange(10).repeat_interleave(2)
    centroids = noise(10, DIM)
    points = centroids[labels]
    points[: 2 * apart] += noise(2 * apart, DIM, seed=1)
    phi = concentrations(points, KMeans(labels, centroids, 0.0, 1), 10.0, TEMPERATURE)
    assert phi.isfinite().all()
    assert float(phi.min()) > 1e-3
    assert float(phi.mean()) == pytest.approx(TEMPERATURE)


@settings(max_examples=100)
@given(prototypes=st.integers(1, 30), negatives=st.integers(1, 35), seed=st.integers(0, 2**63 - 1))
def test_no_prototype_is_drawn_twice(prototypes: int, negatives: int, seed: int) -> None:
    found = drawn(prototypes, negatives, torch.Generator().manual_seed(seed)).tolist()
    assert len(set(found)) == len(found) == min(prototypes, negatives + 1)
    assert set(found) <= set(range(prototypes))


def test_all_prototypes_are_drawn_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    counts = Counter(place for _ in range(3000) for place in drawn(10, 2, generator).tolist())
    # 900 are expected of each, with a standard deviation of 25.
    assert all(abs(counts[place] - 900) < 125 for place in range(10))


@settings(max_examples=100)
@given(prototypes=st.integers(1, 12), negatives=st.integers(1, 14), seed=st.integers(0, 10_000))
def test_proto_nce_is_its_definition(prototypes: int, negatives: int, seed: int) -> None:
    """As many negatives for each query, or all others; the own prototype is none of them."""
    count = 8
    queries, rows = (
        functional.normalize(noise(count, DIM, seed=seed), dim=1),
        noise(prototypes, DIM, seed=seed),
    )
    phi = 0.2 + noise(prototypes, seed=seed + 1).abs()
    generator = torch.Generator().manual_seed(seed)
    own = torch.randint(prototypes, (count,), generator=generator)
    chosen = drawn(prototypes, negatives, generator)
    losses = proto_nce(queries, rows, phi, own, chosen)
    for query, place, loss in zip(queries.tolist(), own.tolist(), losses.tolist(), strict=True):
        others = [other for other in chosen.tolist() if other != place][:negatives]
        assert len(others) == min(negatives, prototypes - 1)
        expected = reference_proto_nce(query, rows.tolist(), phi.tolist(), place, others)
        assert loss == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("negatives", [1, 4, 11, 1000])
@pytest.mark.parametrize("seed", range(20))
def test_an_images_own_prototype_is_never_a_negative(negatives: int, seed: int) -> None:
    """Queries on their prototypes, at concentrations so low that any other is lost beside it.

    Counted twice, the own prototype would leave a loss of log 2.
    """
    objective = pcl(PclParams(clusters=[12], negatives=negatives, queue=20))
    objective.begin_epoch(4, embed, ALONE, seed)
    objective.begin_step(StepInfo(seed, 100))
    objective._phi_S.fill_(1e-4)
    _, targets = outputs_and_targets()
    outputs = objective._prototypes_SD[objective._owns_MI[0][batch().images_B]].repeat(2, 1).double()
    loss = objective.loss(outputs, targets, batch(), ALONE)
    assert float(loss - infonce_of(objective, outputs, targets)) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("negatives", [3, 100])
def test_the_loss_is_infonce_and_the_mean_over_clusterings_of_proto_nce(negatives: int) -> None:
    """Of both views, among some of the other prototypes or all of them."""
    objective = begun(pcl(PARAMS.model_copy(update={"negatives": negatives})), step=5)
    outputs, targets = outputs_and_targets()
    fitted = fit_kmeans_each(embed(), [5, 12], max_iter=PARAMS.max_iter, n_init=1, seed=SEED)
    generator = torch.Generator().manual_seed(derived_seed(SEED, "negatives", 5))
    of_clusterings = []
    for each in fitted:
        prototypes = functional.normalize(each.centroids_KD, dim=1).double().tolist()
        phi = reference_phi(embed().double(), each, PARAMS.smoothing, (10, 90))
        order = torch.randperm(len(phi), generator=generator).tolist()
        losses = []
        for view, query in enumerate(functional.normalize(outputs, dim=1).tolist()):
            own = int(each.labels_N[batch().images_B[view % IMAGES]])
            others = [place for place in order if place != own][:negatives]
            losses.append(reference_proto_nce(query, prototypes, phi, own, others))
        of_clusterings.append(sum(losses) / len(losses))
    assert min(of_clusterings) > 0.1
    expected = float(infonce_of(objective, outputs, targets)) + sum(of_clusterings) / 2
    assert float(objective.loss(outputs, targets, batch(), ALONE)) == pytest.approx(expected, rel=1e-5)


def test_the_gradient_is_that_of_finite_differences() -> None:
    objective = begun(pcl())
    outputs, targets = outputs_and_targets()
    outputs.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: objective.loss(x, targets, batch(), ALONE), outputs)


@pytest.mark.parametrize(
    ("fraction", "epochs", "first"), [(0.2, 10, 2), (0.1, 9, 1), (0.07, 100, 7), (0.0, 3, 0), (1.0, 3, 3)]
)
def test_the_warm_up_is_infonce_alone(fraction: float, epochs: int, first: int) -> None:
    objective = pcl(PARAMS.model_copy(update={"warmup_fraction": fraction}), epochs)
    outputs, targets = outputs_and_targets()
    for epoch in range(first):
        objective.begin_epoch(epoch, never, ALONE, SEED)
        loss = objective.loss(outputs, targets, batch(), ALONE)
        assert torch.equal(loss, infonce_of(objective, outputs, targets))
        objective.end_step(targets, batch(), ALONE)
    if first < epochs:
        objective.begin_epoch(first, embed, ALONE, SEED)
        loss = objective.loss(outputs, targets, batch(), ALONE)
        assert float(loss) > float(infonce_of(objective, outputs, targets)) + 0.1


def test_older_keys_of_an_image_are_its_positives() -> None:
    objective = pcl()
    _, targets = outputs_and_targets()
    objective.end_step(targets, batch(), ALONE)
    assert objective.queue.ids.tolist() == batch().images_B.tolist() * 2


@pytest.mark.parametrize(("images", "expected"), [(40, [5, 12]), (10, [5]), (8, [4]), (2, [1])])
def test_clusters_are_at_most_half_as_many_as_images(images: int, expected: list[int]) -> None:
    objective = pcl()
    objective.begin_epoch(4, lambda: embed(images), ALONE, SEED)
    assert objective._sizes == expected
    assert objective._owns_MI.shape == (len(expected), images)
    known = Batch(torch.tensor([0, 1]), torch.tensor([0, 0]))
    assert objective.loss(noise(4, DIM), noise(4, DIM, seed=1), known, ALONE).isfinite()


def test_it_is_built_by_the_parameters() -> None:
    params = PretrainParams()
    built = PCL.build(FEATURES, params, DataInfo(clusters=3, attributes=0))
    assert built.target_momentum(StepInfo(0, 9)) == params.pcl.momentum
    assert (built.queue.length, built.epochs, built.params) == (params.pcl.queue, params.epochs, params.pcl)


def next_loss(objective: PCL, step: int) -> float:
    objective.begin_step(StepInfo(step, 100))
    return float(objective.loss(*outputs_and_targets(), batch(), ALONE))


def test_negatives_follow_from_the_epochs_seed_and_the_step() -> None:
    objective = begun(pcl())
    assert next_loss(objective, 5) == next_loss(begun(pcl()), 5)
    assert len({next_loss(objective, step) for step in range(5)}) == 5
    before = next_loss(objective, 5)
    objective._seed += 1
    assert next_loss(objective, 5) != before


def saved(objective: PCL) -> dict[str, Tensor]:
    file = io.BytesIO()
    torch.save(objective.state_dict(), file)
    file.seek(0)
    state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return state


def test_it_goes_on_where_it_was_saved_within_an_epoch() -> None:
    objective, resumed = begun(pcl()), pcl()
    resumed.load_state_dict(saved(objective))
    for step in (6, 7):
        assert next_loss(resumed, step) == next_loss(objective, step)


def test_going_back_to_the_warm_up_forgets_the_prototypes() -> None:
    warming = pcl()
    warming.begin_epoch(0, never, ALONE, SEED)
    state, objective = saved(warming), begun(pcl())
    objective.load_state_dict(state)
    assert next_loss(objective, 0) == float(infonce_of(warming, *outputs_and_targets()))


def test_the_host_reads_no_value() -> None:
    """Tensors without values: whatever would wait for one raises."""
    prepared = saved(begun(PCL(FEATURES, DIM, TEMPERATURE, PARAMS, epochs=EPOCHS)))["_extra_state"]
    with FakeTensorMode(allow_non_fake_inputs=False) as mode:
        objective = PCL(FEATURES, DIM, TEMPERATURE, PARAMS, epochs=EPOCHS)
        objective.set_extra_state(
            {
                key: mode.from_tensor(value) if isinstance(value, Tensor) else value
                for key, value in dict(prepared).items()
            }
        )
        known = Batch(torch.arange(4), torch.arange(4))
        for step in range(3):
            outputs, targets = torch.empty(8, DIM, requires_grad=True), torch.empty(8, DIM)
            objective.begin_step(StepInfo(step, 100))
            objective.loss(outputs, targets, known, ALONE).backward()
            objective.end_step(targets, known, ALONE)
            assert outputs.grad is not None


Steps = list[tuple[Tensor, Tensor, Tensor, Tensor]]


def steps(ranks: Ranks) -> Steps:
    """Loss, gradient (2, B, D) and the queue's rows and ids after each of some steps.

    Each rank sees its embeddings a little differently.
    """
    objective, own, found = pcl(), ranks.share(IMAGES), []
    objective.begin_epoch(4, lambda: embed() + 0.3 * ranks.rank * embed().flip(0), ranks, SEED)
    for step in range(STEPS):
        objective.begin_step(StepInfo(step, 100))
        outputs, targets = (noise(2, IMAGES, DIM, seed=10 * step + side)[:, own] for side in range(2))
        leaf = outputs.flatten(0, 1).requires_grad_()
        images = (batch().images_B + step).remainder(TRAIN_IMAGES)[own]
        known = Batch(images, torch.zeros_like(images))
        loss = objective.loss(leaf, targets.flatten(0, 1), known, ranks)
        (gradient,) = torch.autograd.grad(loss, leaf)
        objective.end_step(targets.flatten(0, 1), known, ranks)
        queue = objective.queue
        found.append((loss.detach(), gradient.unflatten(0, (2, -1)), queue.rows.clone(), queue.ids.clone()))
    return found


def test_ranks_agree_with_one_process(tmp_path: Path) -> None:
    of_each_rank: list[Steps] = in_ranks(COUNT, tmp_path, steps)
    for step, (loss, gradient, rows, ids) in enumerate(steps(ALONE)):
        found = [of_rank[step] for of_rank in of_each_rank]
        torch.testing.assert_close(torch.cat([of_rank[1] for of_rank in found], dim=1), gradient)
        for of_rank in found:
            torch.testing.assert_close(of_rank[0], loss)
            assert torch.equal(of_rank[2], rows)
            assert torch.equal(of_rank[3], ids)
