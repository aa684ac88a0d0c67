import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from pipeline.training.recluster import moved_share, named_after, recluster

SETTINGS = {"clusters": 3, "max_iter": 10, "n_init": 3}


def test_well_separated_groups_are_found_and_described() -> None:
    groups = torch.arange(3).repeat_interleave(torch.tensor([6, 3, 1]))
    noise = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    embeddings = functional.normalize(torch.eye(4)[groups] + 0.01 * noise, dim=1)
    clusters, row = recluster(embeddings, torch.zeros(10, dtype=torch.int64), SETTINGS, epoch=2, seed=0)
    assert len(set(zip(clusters.tolist(), groups.tolist(), strict=True))) == 3
    assert (row["epoch"], row["clusters"], row["singletons"], row["largest_share"]) == (2, 3, 1, 0.6)
    shares = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    torch.testing.assert_close(row["cluster_entropy_bits"], float(-(shares * shares.log2()).sum()))


def test_moved_share_ignores_names_and_counts_movers() -> None:
    before = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])
    assert moved_share(before, torch.tensor([5, 5, 5, 2, 2, 2, 0, 0])) == 0.0
    assert moved_share(before, torch.tensor([0, 0, 1, 1, 1, 1, 2, 2])) == 1 / 8
    # All in one cluster: nobody left its companions.
    assert moved_share(before, torch.zeros(8, dtype=torch.int64)) == 0.0


def test_clusters_keep_the_numbers_of_those_they_share_most_with() -> None:
    before = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    assert named_after(before, torch.tensor([2, 2, 2, 0, 0, 1, 1, 1])).tolist() == before.tolist()
    # A fourth cluster splits off the largest's rest, and takes the number that is free.
    assert named_after(before, torch.tensor([3, 3, 1, 2, 2, 0, 0, 0])).tolist() == [0, 0, 3, 1, 1, 2, 2, 2]
    # Two are left: the former 2 has the most images, and its number is too high to be contiguous.
    assert named_after(before, torch.tensor([0, 0, 0, 0, 0, 1, 1, 1])).tolist() == [0, 0, 0, 0, 0, 1, 1, 1]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_renaming_changes_no_cluster(pairs: list[tuple[int, int]]) -> None:
    before, after = (
        torch.unique(torch.tensor(side), return_inverse=True)[1] for side in zip(*pairs, strict=True)
    )
    named = named_after(before, after)
    assert sorted(set(named.tolist())) == list(range(int(after.max()) + 1))
    assert torch.equal(named[:, None] == named, after[:, None] == after)
    assert torch.equal(named_after(named, after), named)
