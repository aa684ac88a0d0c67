"""What holds for all objectives: over ranks as alone, and the gradient is that of the value."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.config.objectives import Objective as ObjectiveName
from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.base import Batch, DataInfo, Objective, StepInfo
from pipeline.objectives.registry import OBJECTIVES
from pipeline.objectives.traits import TRAITS
from pipeline.runtime.distributed import ALONE, Ranks
from processes import in_ranks
from support import REPOSITORY

IMAGES, BATCH, STEPS = 24, 8, 5
FEATURES = 6
KNOWN = DataInfo(clusters=3, attributes=4)
SMALL: dict[str, Any] = {
    "projection_dim": 4,
    "epochs": 2,
    "moco": {"queue": 12},
    "pcl": {"clusters": [3, 5], "negatives": 2, "queue": 12, "warmup_fraction": 0.0},
    "swav": {"prototypes": 5, "queue": 8, "queue_from": 0.3},
    "byol": {"hidden": 5},
    "simsiam": {"hidden": 3},
    "iccl": {"hidden": 5, "start": 0.2, "end": 0.8},
    "dual_head": {"hidden": 5},
    "cmc": {"hidden": 5},
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(name: str) -> Objective:
    torch.manual_seed(0)
    params = PretrainParams.model_validate(SMALL | {"objective": name})
    return OBJECTIVES[name].build(FEATURES, params, KNOWN).double()


def batch_of(step: int, own: slice) -> Batch:
    images = torch.randperm(IMAGES, generator=seeded(step))[:BATCH][own]
    attributes = torch.randint(-1, 2, (IMAGES, 4), generator=seeded(1)).to(torch.int8)
    return Batch(images, images % 3, attributes[images])


def rows_of(dim: int, step: int, own: slice) -> Tensor:
    """Of the first views and of the second ones of this rank's images."""
    rows = torch.randn(2, BATCH, dim, generator=seeded(10 + step), dtype=torch.float64)
    return rows[:, own].flatten(0, 1)


def steps_of(ranks: Ranks, names: list[str]) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """Loss and gradient by this rank's outputs in several steps, what is remembered between them included."""
    return {name: list(some_steps(ranks, name)) for name in names}


def some_steps(ranks: Ranks, name: str) -> Any:
    objective, own = built(name), ranks.share(BATCH)
    embeddings = functional.normalize(torch.randn(IMAGES, 4, generator=seeded(2)), dim=1)
    with torch.no_grad():
        width = (
            objective.eval()
            .project(torch.zeros(2, FEATURES).double(), torch.zeros(2, 4).to(torch.int8))
            .shape[1]
        )
    objective.train()
    objective.begin_epoch(0, lambda: embeddings, ranks, 3)
    for step in range(STEPS):
        step_info, batch = StepInfo(step, STEPS), batch_of(step, own)
        objective.begin_step(step_info)
        outputs = rows_of(width, step, own).requires_grad_()
        has_target = objective.target_momentum(step_info) is not None
        targets = rows_of(4, 20 + step, own) if has_target else None
        loss = objective.loss(outputs, targets, batch, ranks)
        (gradient,) = torch.autograd.grad(loss, outputs)
        with torch.no_grad():
            objective.end_step(targets, batch, ranks)
        yield loss.detach(), gradient


def test_two_ranks_are_as_one(tmp_path: Path) -> None:
    names = list(OBJECTIVES)
    by_rank = in_ranks(2, tmp_path, steps_of, names)
    for name, expected in steps_of(ALONE, names).items():
        for step, (loss, gradient) in enumerate(expected):
            halves = [steps[name][step][1].unflatten(0, (2, -1)) for steps in by_rank]
            for steps in by_rank:
                torch.testing.assert_close(steps[name][step][0], loss, rtol=1e-9, atol=1e-12, msg=name)
            together = torch.cat(halves, dim=1).flatten(0, 1)
            torch.testing.assert_close(together, gradient, rtol=1e-7, atol=1e-12, msg=f"{name}, step {step}")
            # A queue is empty at first.
            assert gradient.abs().sum() > 0 or (name, step) == ("moco", 0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_is_saved_goes_on_as_what_was_not_interrupted(name: str) -> None:
    """After two steps everything is loaded into a fresh objective, which has seen no epoch begin."""
    own = slice(0, BATCH)
    first, second = built(name), built(name)
    embeddings = functional.normalize(torch.randn(IMAGES, 4, generator=seeded(2)), dim=1)
    first.begin_epoch(0, lambda: embeddings, ALONE, 3)
    losses = []
    for step in range(STEPS):
        if step == 2:
            second.load_state_dict(first.state_dict())
        for objective in (first, second):
            if objective is second and step < 2:
                continue
            objective.begin_step(StepInfo(step, STEPS))
            features = rows_of(FEATURES, step, own)
            known = batch_of(step, own)
            assert known.attributes_BA is not None
            outputs = objective.project(features, torch.cat([known.attributes_BA, known.attributes_BA]))
            targets = None
            if objective.target_momentum(StepInfo(step, STEPS)) is not None:
                targets = rows_of(4, 20 + step, own)
            losses.append(objective.loss(outputs, targets, known, ALONE).detach())
            with torch.no_grad():
                objective.end_step(targets, known, ALONE)
    for undisturbed, resumed in zip(losses[2::2], losses[3::2], strict=True):
        assert torch.equal(undisturbed, resumed)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_weight_takes_part(name: str) -> None:
    """A weight without gradient would make several processes wait for it."""
    objective, own = built(name), slice(0, BATCH)
    embeddings = functional.normalize(torch.randn(IMAGES, 4, generator=seeded(2)), dim=1)
    objective.begin_epoch(0, lambda: embeddings, ALONE, 3)
    objective.begin_step(StepInfo(STEPS - 1, STEPS))
    known = batch_of(0, own)
    assert known.attributes_BA is not None
    outputs = objective.project(rows_of(FEATURES, 0, own), torch.cat([known.attributes_BA] * 2))
    has_target = objective.target_momentum(StepInfo(0, 1)) is not None
    objective.loss(outputs, rows_of(4, 1, own) if has_target else None, known, ALONE).backward()
    for weight_name, weight in objective.named_parameters():
        assert weight.grad is not None, weight_name


def losses(name: str, change: Callable[[Batch], Batch] = lambda batch: batch) -> list[float]:
    """Of some steps without training, on batches that `change` has changed."""
    objective, own = built(name), slice(0, BATCH)
    embeddings = functional.normalize(torch.randn(IMAGES, 4, generator=seeded(2)), dim=1)
    objective.begin_epoch(0, lambda: embeddings, ALONE, 3)
    found = []
    for step in range(STEPS):
        step_info, batch = StepInfo(step, STEPS), change(batch_of(step, own))
        objective.begin_step(step_info)
        assert batch.attributes_BA is not None
        with torch.no_grad():
            outputs = objective.project(rows_of(FEATURES, step, own), torch.cat([batch.attributes_BA] * 2))
            has_target = objective.target_momentum(step_info) is not None
            targets = rows_of(4, 20 + step, own) if has_target else None
            found.append(float(objective.loss(outputs, targets, batch, ALONE)))
            objective.end_step(targets, batch, ALONE)
    return found


def without_attributes(batch: Batch) -> Batch:
    assert batch.attributes_BA is not None
    return replace(batch, attributes_BA=torch.zeros_like(batch.attributes_BA))


def test_every_objective_has_its_name_and_traits() -> None:
    assert set(OBJECTIVES) == set(TRAITS) == set(get_args(ObjectiveName))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_reads_what_the_traits_say(name: str) -> None:
    usual = losses(name)
    by_clusters = losses(name, lambda batch: replace(batch, clusters_B=torch.zeros_like(batch.clusters_B)))
    by_attributes = losses(name, without_attributes)
    assert (by_clusters != usual) == (TRAITS[name].learns_from == "clusters")
    assert (by_attributes != usual) == (TRAITS[name].learns_from == "attributes")


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_page_says_as_the_card_how_it_differs_from_the_published_code(name: str) -> None:
    page = (REPOSITORY / "docs" / "objectives.md").read_text(encoding="utf-8")
    _, compared = page.split("### Compared with the published code")
    (row,) = [line for line in compared.splitlines() if line.startswith(f"| `{name}` |")]
    assert row.endswith(f"| {OBJECTIVES[name].beside_published} |")
