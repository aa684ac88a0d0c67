"""Filters and whitening against their definitions in NumPy, and on images that hold nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.encoders.patches import WhitenedPatches
from pipeline.encoders.whitening import (
    CONTRAST_RIDGE,
    FEATURE_POWER,
    FEATURE_RIDGE,
    IMAGES_PER_FEATURE,
    PATCH_RIDGE,
    _patches_of,
    fit,
    fit_features,
    whitened_filters,
    whitening,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth_images(count: int, size: int = 16, seed: int = 0) -> Tensor:
    """Noise of few frequencies, so that neighbouring pixels are alike as in photographs."""
    coarse = torch.randn(count, 3, 5, 5, generator=generator(seed))
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")


def test_a_filter_s_fit_is_that_of_the_whitened_patch() -> None:
    patches = smooth_images(400, 6, seed=1).flatten(1).double().numpy()
    filters, biases = (part.numpy() for part in whitened_filters(torch.from_numpy(patches), 7, generator()))

    contrast = np.stack([(p - p.mean()) / np.sqrt(p.var(ddof=1) + CONTRAST_RIDGE) for p in patches])
    mean = contrast.mean(axis=0)
    covariance = np.mean([np.outer(p - mean, p - mean) for p in contrast], axis=0)
    values, vectors = np.linalg.eigh(covariance)
    zca = vectors @ np.diag(1 / np.sqrt(values + PATCH_RIDGE)) @ vectors.T
    whitened = (contrast - mean) @ zca

    for number, drawn in enumerate(torch.randperm(400, generator=generator())[:7].tolist()):
        direction = whitened[drawn] / np.linalg.norm(whitened[drawn])
        np.testing.assert_allclose(
            contrast @ filters[number] + biases[number], whitened @ direction, atol=1e-8
        )


def test_filters_do_not_see_how_bright_a_patch_is() -> None:
    filters, _ = whitened_filters(smooth_images(100, 6).flatten(1), 5, generator())
    torch.testing.assert_close(filters.sum(dim=1), torch.zeros(5, dtype=torch.float64), atol=1e-9, rtol=0)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000), rows=st.integers(50, 200), columns=st.integers(2, 10), kept=st.integers(1, 10)
)
def test_whitened_values_are_uncorrelated(seed: int, rows: int, columns: int, kept: int) -> None:
    mixing = torch.randn(columns, columns, generator=generator(seed), dtype=torch.float64)
    mixing += 3 * torch.eye(columns, dtype=torch.float64)
    values = torch.randn(rows, columns, generator=generator(seed + 1), dtype=torch.float64) @ mixing + 5
    weight, bias = whitening(values, kept)
    outputs = values @ weight.T + bias
    kept = min(kept, columns)
    assert outputs.shape == (rows, kept)
    assert float(outputs.mean(dim=0).abs().max()) < 1e-9
    covariance = outputs.T @ outputs / rows
    assert float((covariance - covariance.diag().diag()).abs().max()) < 1e-9
    # The ridge takes a little of the weaker directions.
    variances = torch.linalg.eigvalsh(values.T.cov(correction=0))
    expected = variances / (variances + FEATURE_RIDGE * variances[-1])
    torch.testing.assert_close(covariance.diag(), expected[-kept:], rtol=1e-6, atol=1e-9)


def test_the_strongest_directions_are_kept() -> None:
    values = torch.randn(500, 4, generator=generator()) * torch.tensor([1.0, 10.0, 0.1, 5.0])
    weight, _ = whitening(values, 2)
    assert weight.abs().argmax(dim=1).tolist() == [3, 1]


@pytest.mark.parametrize("rounding", [0.0, 1e-8])
def test_values_that_do_not_differ_keep_their_scale(rounding: float) -> None:
    values = 1 + rounding * torch.randn(50, 4, generator=generator(), dtype=torch.float64)
    weight, bias = whitening(values, 4, symmetric=True)
    torch.testing.assert_close(weight, torch.eye(4, dtype=torch.float64))
    assert float((values @ weight.T + bias).abs().max()) < 1e-6


@pytest.mark.parametrize("unit", [1e-12, 1e-3, 1e12])
def test_the_unit_of_the_values_does_not_matter(unit: float) -> None:
    values = torch.randn(200, 4, generator=generator(), dtype=torch.float64) + 2
    expected, found = (whitening(some, 4, symmetric=True) for some in (values, values * unit))
    torch.testing.assert_close(found[0] * unit, expected[0])
    torch.testing.assert_close(found[1], expected[1])


def test_patches_are_cut_from_the_images() -> None:
    images = torch.arange(2 * 3 * 8 * 9, dtype=torch.float32).view(2, 3, 8, 9)
    patches = _patches_of(images, 6, 5, generator())
    assert patches.shape == (10, 108)
    for number, patch in enumerate(patches):
        places = [
            images[number // 5, :, row : row + 6, column : column + 6].flatten()
            for row in range(3)
            for column in range(4)
        ]
        assert any(torch.equal(patch, place) for place in places)


def weights_of(images: Tensor, seed: int = 0, batch: int = 16) -> dict[str, Tensor]:
    layer = WhitenedPatches(8, 12)
    fit(layer, lambda: images.split(batch), len(images), seed)
    return {name: weight.clone() for name, weight in layer.state_dict().items()}


def test_a_seed_gives_the_same_weights_and_another_seed_others() -> None:
    images = smooth_images(40)
    first, second, other = weights_of(images), weights_of(images), weights_of(images, seed=1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["patches.weight"], other["patches.weight"])


def test_the_summary_of_the_images_is_white() -> None:
    images = smooth_images(300)
    layer = WhitenedPatches(8, 4)
    fit(layer, lambda: images.split(50), len(images), seed=0)
    with torch.no_grad():
        outputs = layer(images).double()
    covariance = outputs.T.cov(correction=0)
    torch.testing.assert_close(covariance, torch.eye(4, dtype=torch.float64), atol=0.1, rtol=0)


def test_features_are_whitened_in_good_part_and_not_turned() -> None:
    generator_ = generator(3)
    mixing = torch.randn(6, 6, generator=generator_, dtype=torch.float64) + 4 * torch.eye(6)
    features = torch.randn(400, 6, generator=generator_, dtype=torch.float64) @ mixing + 3
    layer = torch.nn.Linear(6, 6).double()
    fit_features(layer, features)
    before, after = (values.detach().T.cov(correction=0) for values in (features, layer(features)))
    variances, directions = torch.linalg.eigh(before)
    expected = directions * variances ** (1 - 2 * FEATURE_POWER) @ directions.T
    torch.testing.assert_close(after, expected, atol=0, rtol=0.05)
    assert float(torch.linalg.cond(after)) < float(torch.linalg.cond(before)) ** 0.3
    torch.testing.assert_close(layer.weight, layer.weight.T)
    assert bool((torch.linalg.eigvalsh(layer.weight.detach()) > 0).all())


def test_rounding_of_few_features_changes_their_whitening_little() -> None:
    """Fewer images than features: principal components would be any."""
    features = torch.randn(12, 40, generator=generator(), dtype=torch.float64)
    rounded = features + 1e-9 * torch.randn(12, 40, generator=generator(1), dtype=torch.float64)
    (weight, _), (other, _) = (
        whitening(rows, 40, FEATURE_POWER, symmetric=True) for rows in (features, rounded)
    )
    torch.testing.assert_close(weight, other, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("missing", [0, 1])
def test_features_of_few_images_stay_as_they_are(missing: int) -> None:
    features = torch.randn(IMAGES_PER_FEATURE * 6 - missing, 6, generator=generator())
    layer = torch.nn.Linear(6, 6)
    torch.nn.init.eye_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    fit_features(layer, features)
    assert torch.equal(layer(features), features) == bool(missing)


@pytest.mark.parametrize("images", [torch.zeros(3, 3, 16, 16), torch.ones(2, 3, 8, 8), smooth_images(2, 8)])
def test_weights_stay_finite_where_images_hold_nothing(images: Tensor) -> None:
    assert all(bool(torch.isfinite(weight).all()) for weight in weights_of(images).values())
