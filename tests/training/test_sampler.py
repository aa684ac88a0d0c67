"""Batches: each image as often as stated, each with company, all from the seed."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.training.sampler import cluster_batches, partners, shuffled_batches


def order(count: int, seed: int = 0) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def contiguous(clusters: list[int]) -> Tensor:
    clusters_N: Tensor = torch.tensor(clusters).unique(return_inverse=True)[1]
    return clusters_N


def test_a_shuffle_shows_each_image_at_most_once() -> None:
    batches = shuffled_batches(order(23), 5)
    assert batches.shape == (4, 5)
    assert len(batches.unique()) == 20


@settings(max_examples=100)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=40), st.integers(0, 50))
def test_every_image_has_company_in_its_batch(clusters: list[int], seed: int) -> None:
    clusters_N = contiguous(clusters)
    batches = cluster_batches(order(len(clusters), seed), clusters_N, 2)
    sizes = Counter(clusters_N.tolist())
    seen = Counter(batches.flatten().tolist())
    assert set(seen) == set(range(len(clusters)))
    for first, second in batches.tolist():
        assert clusters_N[first] == clusters_N[second]
        assert (first == second) == (sizes[int(clusters_N[first])] == 1)
    # Twice is seen what is alone, and in odd clusters the one that the last was paired with.
    twice = sum(count - 1 for count in seen.values())
    assert twice == sum(size % 2 for size in sizes.values())
    assert max(seen.values()) <= 2


def test_batches_of_pairs_are_full_and_mixed() -> None:
    clusters_N = torch.arange(4).repeat_interleave(50)
    batches = cluster_batches(order(200), clusters_N, 16)
    assert batches.shape == (12, 16)
    assert all(len(clusters_N[batch].unique()) > 1 for batch in batches)
    assert not torch.equal(batches, cluster_batches(order(200, seed=1), clusters_N, 16))


def test_partners_are_others_of_the_cluster_drawn_evenly() -> None:
    clusters_N = contiguous([3, 1, 3, 0, 3, 1, 3])
    images = torch.arange(7).repeat(3000, 1)
    drawn = partners(images, clusters_N, seed=5)
    assert drawn.shape == images.shape
    assert (clusters_N[drawn] == clusters_N[images]).all()
    assert (drawn[:, 3] == 3).all()
    for image in (0, 2, 4, 6):
        counts = Counter(drawn[:, image].tolist())
        assert image not in counts
        assert all(count == pytest.approx(1000, abs=150) for count in counts.values())
        assert len(counts) == 3
    assert torch.equal(drawn, partners(images, clusters_N, seed=5))
    assert not torch.equal(drawn, partners(images, clusters_N, seed=6))
