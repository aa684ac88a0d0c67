"""Signs of life against their definitions, and what they say of a collapse."""

import math

import numpy as np
import pytest
import torch

from pipeline.training.collapse import collapse
from pipeline.training.representation import alignment, rankme, representation_metrics, uniformity


def drawn(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(50, 8), (8, 50), (20, 20)])
def test_rankme_is_the_entropy_of_singular_values(shape: tuple[int, int]) -> None:
    features = drawn(*shape)
    values = np.linalg.svd(features.double().numpy(), compute_uv=False)
    shares = values / values.sum()
    expected = math.exp(-(shares * np.log(shares)).sum())
    assert float(rankme(features)) == pytest.approx(expected, rel=1e-6)


def test_rankme_of_orthogonal_and_of_parallel_features() -> None:
    assert float(rankme(torch.eye(6).repeat(5, 1))) == pytest.approx(6, rel=1e-5)
    assert math.isfinite(float(rankme(torch.zeros(4, 3))))


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_rankme_does_not_count_the_rounding_of_what_is_missing(rank: int) -> None:
    """Of `rank` orthogonal directions of one length in 512 dimensions."""
    directions = torch.linalg.qr(drawn(512, rank).double()).Q.T
    coordinates = torch.linalg.qr(drawn(1024, rank, seed=1).double()).Q
    assert float(rankme((coordinates @ directions).float())) == pytest.approx(rank, abs=0.01)


def test_alignment_and_uniformity_are_their_definitions() -> None:
    first, second = drawn(12, 5), drawn(12, 5, seed=1)
    unit = [[row / row.norm() for row in views] for views in (first, second)]
    distances = [float((a - b).square().sum()) for a, b in zip(*unit, strict=True)]
    assert float(alignment(first, second)) == pytest.approx(sum(distances) / 12, rel=1e-5)
    kernel = [
        math.exp(-2 * float((a - b).square().sum()))
        for i, a in enumerate(unit[0])
        for j, b in enumerate(unit[0])
        if i != j
    ]
    assert float(uniformity(first)) == pytest.approx(math.log(sum(kernel) / len(kernel)), rel=1e-4)
    assert float(alignment(first, 3 * first)) == pytest.approx(0, abs=1e-10)


def test_a_collapse_is_told_and_a_spread_is_not() -> None:
    spread = drawn(200, 16), drawn(200, 16, seed=1)
    assert collapse(representation_metrics(spread, spread)) is None
    point = torch.ones(200, 16) + 1e-3 * spread[0], torch.ones(200, 16) + 1e-3 * spread[1]
    found = collapse(representation_metrics(spread, point))
    assert found is not None
    assert "nearly the same embedding" in found.what
    line = spread[0][:, :1] * torch.ones(1, 16), spread[1][:, :1] * torch.ones(1, 16)
    found = collapse(representation_metrics(line, spread))
    assert found is not None
    assert "on a line" in found.what


@pytest.mark.parametrize("unit", [1e-30, 1e-12, 1e12, 1e30])
def test_the_signs_do_not_depend_on_the_unit(unit: float) -> None:
    views = drawn(60, 8), drawn(60, 8, seed=1)
    plain = representation_metrics(views, views)
    scaled = views[0] * unit, views[1] * unit
    assert representation_metrics(scaled, scaled) == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_features_that_are_not_finite_have_no_rank(value: float) -> None:
    views, broken = (drawn(20, 4), drawn(20, 4, seed=1)), drawn(20, 4)
    broken[3, 1] = value
    signs = representation_metrics((broken, broken), views)
    assert math.isnan(signs["rankme"])
    assert collapse(signs) is None


def test_a_row_without_signs_tells_no_collapse() -> None:
    assert collapse({"epoch": 3, "loss": 1.0}) is None
