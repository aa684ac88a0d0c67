import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix, expected_mutual_information

from pipeline.statistics.contingency import Contingency
from pipeline.statistics.expected_information import expected_mutual_information_bits, independence_p_value
from pipeline.statistics.information import Information

CODES = st.integers(min_value=0, max_value=5)


@given(st.lists(st.tuples(CODES, CODES), min_size=1, max_size=80))
def test_expectation_equals_scikit_learns(rows: list[tuple[int, int]]) -> None:
    clusters, labels = (np.array(column) for column in zip(*rows, strict=True))
    nats = expected_mutual_information(contingency_matrix(labels, clusters, sparse=True), len(rows))
    bits = expected_mutual_information_bits(Contingency.of_codes(clusters, labels))
    assert bits * math.log(2) == pytest.approx(nats, abs=1e-10)


def test_expectation_is_the_mean_over_all_shuffles() -> None:
    clusters_N, labels_N = np.array([0, 0, 0, 1, 1, 2, 2]), np.array([0, 0, 1, 1, 1, 1, 2])
    shuffles = [
        Information(Contingency.of_codes(clusters_N, np.array(order))).mutual_information_bits
        for order in itertools.permutations(labels_N.tolist())
    ]
    bits = expected_mutual_information_bits(Contingency.of_codes(clusters_N, labels_N))
    assert bits == pytest.approx(np.mean(shuffles), abs=1e-12)


@pytest.mark.parametrize(
    ("rows", "clusters", "labels"), [(30_000, 3, 2), (30_000, 40, 5), (30_000, 300, 40), (20_000, 4000, 20)]
)
def test_wide_and_narrow_cells_agree_with_scikit_learn(rows: int, clusters: int, labels: int) -> None:
    generator = np.random.default_rng(rows + clusters)
    clusters_N = generator.zipf(1.4, rows) % clusters
    labels_N = (
        np.where(generator.random(rows) < 0.2, clusters_N, generator.integers(0, labels, rows)) % labels
    )
    adjusted = Information(Contingency.of_codes(clusters_N, labels_N)).adjusted_mutual_information
    assert adjusted == pytest.approx(adjusted_mutual_info_score(labels_N, clusters_N), rel=1e-8)


def p_value(clusters_N: np.ndarray, labels_N: np.ndarray, generator: np.random.Generator) -> float:
    table = Contingency.of_codes(clusters_N, labels_N)
    information = Information(table)
    return independence_p_value(
        table, information.mutual_information_bits, information.expected_mutual_information_bits, generator
    )


@pytest.mark.parametrize(("rows", "clusters", "labels"), [(400, 4, 3), (300, 60, 10), (600, 300, 30)])
def test_independent_clusters_are_rarely_called_dependent(rows: int, clusters: int, labels: int) -> None:
    generator = np.random.default_rng(0)
    p_values = [
        p_value(generator.integers(0, clusters, rows), generator.integers(0, labels, rows), generator)
        for _ in range(150)
    ]
    assert np.mean(np.array(p_values) <= 0.01) <= 0.05
    assert 0.4 < np.mean(p_values) < 0.6


@pytest.mark.parametrize(("rows", "clusters", "labels"), [(400, 4, 3), (300, 60, 10), (600, 300, 30)])
def test_dependent_clusters_are_found(rows: int, clusters: int, labels: int) -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        clusters_N = generator.integers(0, clusters, rows)
        informed_N = generator.random(rows) < 0.4
        labels_N = np.where(informed_N, clusters_N % labels, generator.integers(0, labels, rows))
        assert p_value(clusters_N, labels_N, generator) <= 0.01


def test_singletons_are_never_above_chance() -> None:
    labels_N = np.arange(100) % 7
    assert p_value(np.arange(100), labels_N, np.random.default_rng(0)) > 0.01
