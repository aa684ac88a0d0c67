"""Predictors against slow references, and on clusterings whose worth is plain."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from pipeline.advice.forecast import forecast, gain_of, score_of
from pipeline.advice.positive_weights import EXACT_SIZES, PositiveWeights
from pipeline.advice.predictors import PRIOR_IMAGES, Labelled, predictors_of
from pipeline.statistics.contingency import UNKNOWN

IMAGES = 60
CODES = st.lists(st.integers(-1, 6), min_size=IMAGES, max_size=IMAGES)
LABELS = st.lists(st.integers(-1, 3), min_size=IMAGES, max_size=IMAGES)


def weight(size: int, images: int, batch_size: int) -> float:
    """E[2m / (2m + 1)], term by term."""
    others = min(batch_size, images) - 1
    counts = range(others + 1)
    return float(sum(2 * m / (2 * m + 1) * hypergeom.pmf(m, images - 1, size - 1, others) for m in counts))


@pytest.mark.parametrize(("images", "batch_size"), [(50, 8), (50, 64), (3000, 16), (40_000, 128)])
def test_weights_of_positives(images: int, batch_size: int) -> None:
    sizes = sorted({1, 2, 7, min(images, 250), images // 3, images - 1, images})
    expected = [weight(size, images, batch_size) for size in sizes]
    got = PositiveWeights(images, batch_size).of(np.array(sizes))
    np.testing.assert_allclose(got, expected, atol=1e-4 if images > EXACT_SIZES else 1e-9)


def slow(clusters: list[int], labels: list[int], batch_size: int) -> tuple[float, float, float]:
    """Information that a batch sees, pairs and alignment, image by image and pair by pair."""
    images = len(labels)
    labelled = [n for n in range(images) if labels[n] >= 0]
    both = [n for n in labelled if clusters[n] >= 0]
    share = {t: sum(labels[n] == t for n in labelled) / len(labelled) for t in set(labels)}
    size = {z: clusters.count(z) for z in set(clusters)}
    w = {z: weight(size[z], images, batch_size) for z in size}
    of_label = {
        t: float(PositiveWeights(images, batch_size).of(np.array(share[t] * images))) for t in share if t >= 0
    }

    def others(n: int) -> list[int]:
        return [m for m in both if m != n and clusters[m] == clusters[n]]

    def bits(n: int, prior: float) -> float:
        same = sum(labels[m] == labels[n] for m in others(n))
        predicted = (same + prior * share[labels[n]]) / (len(others(n)) + prior)
        return math.log2(predicted / share[labels[n]])

    prior = max(PRIOR_IMAGES, key=lambda prior: sum(bits(n, prior) for n in both))
    net = [
        w[clusters[n]] * (1.5 * bits(n, prior) + 0.5 * math.log2(size[clusters[n]] / images)) for n in both
    ]
    pairs_of_all = [(n, m) for n in labelled for m in labelled if n != m]
    chance = sum(labels[n] == labels[m] for n, m in pairs_of_all) / len(pairs_of_all)

    def beyond_chance(n: int) -> float:
        same = sum(labels[m] == labels[n] for m in others(n)) / len(others(n))
        return (same - chance) / (1 - chance)

    same = {n: beyond_chance(n) for n in both if others(n)}
    mean = sum(same.values()) / len(same) if same else -chance / (1 - chance)
    pairs = [w[clusters[n]] * (same.get(n, mean) - 0.25 * (1 - same.get(n, mean))) for n in both]
    entropy = sum(share[t] * of_label[t] * -math.log2(share[t]) for t in of_label)
    ceiling = sum(share[t] * of_label[t] for t in of_label)
    kernels = [
        np.array([[float(v[n] == v[m]) / sum(v[k] == v[n] for k in both) for m in both] for n in both])
        for v in (clusters, labels)
    ]
    alignment = 0.0
    if len(both) > 1:
        centre = np.eye(len(both)) - 1 / len(both)
        first, second = (centre @ kernel @ centre for kernel in kernels)
        found = [len({v[n] for n in both}) for v in (clusters, labels)]
        if min(found) > 1:
            corrected = np.sum(first * second) - (found[0] - 1) * (found[1] - 1) / (len(both) - 1)
            freedom = [f - 1 - (f - 1) ** 2 / (len(both) - 1) for f in found]
            if corrected > 1e-12:
                alignment = corrected / max(math.sqrt(max(0, freedom[0]) * max(0, freedom[1])), 1e-12)
    return (
        sum(net) / len(labelled) / entropy,
        sum(pairs) / len(labelled) / ceiling,
        alignment * len(both) / len(labelled),
    )


@given(CODES, LABELS, st.sampled_from([2, 8, 128]))
def test_predictors_equal_a_slow_reference(clusters: list[int], labels: list[int], batch_size: int) -> None:
    if len(set(labels) - {UNKNOWN}) < 2:
        return
    got = predictors_of(np.array(clusters), Labelled(np.array(labels), batch_size, IMAGES))
    expected = slow(clusters, labels, batch_size)
    np.testing.assert_allclose([got.batch_information, got.pairs, got.alignment], expected, atol=1e-9)


def labels_and_generator() -> tuple[np.ndarray, np.random.Generator]:
    generator = np.random.default_rng(0)
    return generator.integers(0, 10, 4000), generator


def test_the_ends_of_the_scale() -> None:
    labels_N, generator = labels_and_generator()
    labelled = Labelled(labels_N, 128, 4000)
    assert score_of(predictors_of(np.arange(4000), labelled)) == pytest.approx(0, abs=1e-9)
    assert score_of(predictors_of(np.full(4000, UNKNOWN), labelled)) == pytest.approx(0, abs=1e-9)
    assert score_of(predictors_of(labels_N, labelled)) == pytest.approx(1, abs=0.01)
    assert score_of(predictors_of(generator.integers(0, 10, 4000), labelled)) < -0.1


def test_few_labels_give_nearly_the_scores_of_all() -> None:
    labels_N, generator = labels_and_generator()
    clusters_N = np.where(generator.random(4000) < 0.7, labels_N, generator.integers(0, 10, 4000))
    few_N = np.full(4000, UNKNOWN)
    known = generator.permutation(4000)[:300]
    few_N[known] = labels_N[known]
    full, partial = (score_of(predictors_of(clusters_N, Labelled(n, 128, 4000))) for n in (labels_N, few_N))
    assert partial == pytest.approx(full, abs=0.06)


def test_a_sample_stands_for_all_images() -> None:
    """Sizes, which decide what a batch holds, are those of all images; weights correct a biased sample."""
    labels_N, generator = labels_and_generator()
    clusters_N = labels_N // 2 * 40 + generator.integers(0, 40, 4000)
    rows = np.sort(generator.permutation(4000)[:2000])
    whole = predictors_of(clusters_N, Labelled(labels_N, 128, 4000))
    sampled = predictors_of(clusters_N[rows], Labelled(labels_N[rows], 128, 4000))
    assert sampled.pairs == pytest.approx(whole.pairs, abs=0.03)
    twice = np.concatenate([np.arange(4000), np.flatnonzero(labels_N < 5)])
    weights_N = np.where(labels_N[twice] < 5, 0.5, 1.0)
    labels_of_half_N = labels_N.copy()
    labels_of_half_N[labels_N >= 5] = UNKNOWN
    shares_K = Labelled(labels_of_half_N[twice], 128, 4000, weights_N).cluster_shares(clusters_N[twice])
    np.testing.assert_allclose(shares_K, np.bincount(clusters_N) / 4000)


@pytest.mark.parametrize("classes", [2, 3, 30])
def test_a_constant_column_is_worse_than_self_supervision(classes: int) -> None:
    """However few labels there are, which then agree by chance."""
    labels_N = np.arange(600) % classes
    assert score_of(predictors_of(np.zeros(600, np.int64), Labelled(labels_N, 64, 600))) < 0


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [([0, 0, 0, 0], "fewer than two labels"), ([-1] * 4, "fewer than two"), ([0, 1, 2, -1], "no two images")],
)
def test_labels_that_cannot_compare(labels: list[int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        predictors_of(np.zeros(4, np.int64), Labelled(np.array(labels), 2, 4))


def test_forecasts_rise_with_scores_and_widen_with_doubt() -> None:
    scores = np.linspace(-1, 1, 21)
    assert np.all(np.diff(gain_of(scores)) > 0)
    assert (float(gain_of(0.0)), float(gain_of(1.0))) == (0.0, 1.0)
    sure, unsure, unknown = (forecast(0.25, std) for std in (0.0, 0.3, math.inf))
    assert sure.estimate == unsure.estimate == unknown.estimate == 0.5
    assert unknown.low < unsure.low < sure.low < sure.estimate
