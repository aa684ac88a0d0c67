"""What lies near what among the features, for a person to look at: a map of some images, and some neighbours.

Nothing here is a measure, and no label takes part. Shape letters: N train images, M queries, D features.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from torch import Tensor

from pipeline.magnitude import unit_rows
from pipeline.runtime.seeding import derived_seed, numpy_generator
from pipeline.storage.checksums import write_checksummed
from pipeline.storage.schema import MAP_SCHEMA, NEAREST_SCHEMA

MAPPED = 500
"""Train images on the map."""
FEWEST_MAPPED = 10
PERPLEXITY = 30
COMPONENTS = 50
"""Principal components that t-SNE starts from, as its authors advise."""
QUERIES = 8
NEIGHBOURS = 6


def write_vicinity(
    folder: Path,
    train_ids: Sequence[str],
    train_ND: Tensor,
    test_ids: Sequence[str],
    test_MD: Tensor,
    seed: int,
) -> None:
    """Writes `map.parquet` and `nearest.parquet` into `folder`.

    Which images they hold follows from the seed and the number of images alone, so all arms show the same.
    Without test images, train images are the queries, and none is its own neighbour.
    """
    mapped_N = _drawn(len(train_ids), MAPPED, seed, "map")
    places_N2 = map_of(train_ND[torch.from_numpy(mapped_N)], seed)
    mapped = [
        {"id": train_ids[n], "x": x, "y": y}
        for n, (x, y) in zip(mapped_N[: len(places_N2)], places_N2, strict=True)
    ]
    write_checksummed(pa.Table.from_pylist(mapped, schema=MAP_SCHEMA), folder / "map.parquet")

    of_train = not test_ids
    ids, features_MD = (train_ids, train_ND) if of_train else (test_ids, test_MD)
    queries_Q = _drawn(len(ids), QUERIES, seed, "queries")
    found = nearest(features_MD[torch.from_numpy(queries_Q)], train_ND, NEIGHBOURS + of_train)
    near = []
    for query, *of_query in zip(queries_Q, *(tensor.tolist() for tensor in found), strict=True):
        others = [(n, cosine) for cosine, n in zip(*of_query, strict=True) if not (of_train and n == query)]
        near += [
            {"query": ids[query], "rank": rank, "id": train_ids[n], "cosine": cosine}
            for rank, (n, cosine) in enumerate(others[:NEIGHBOURS], 1)
        ]
    write_checksummed(pa.Table.from_pylist(near, schema=NEAREST_SCHEMA), folder / "nearest.parquet")


def map_of(features_ND: Tensor, seed: int) -> np.ndarray:
    """(N, 2) float32 places in the plane by t-SNE on the unit sphere; none where there are too few images."""
    if len(features_ND) < FEWEST_MAPPED:
        return np.zeros((0, 2), np.float32)
    directions_ND = unit_rows(features_ND).cpu().numpy()
    components = min(COMPONENTS, *directions_ND.shape)
    reduced_NC = PCA(components, svd_solver="full").fit_transform(directions_ND)
    # "exact" sums in one order; the quick method's threads would give other maps on other machines.
    layout = TSNE(
        perplexity=min(PERPLEXITY, (len(features_ND) - 1) / 3),
        init="pca",
        method="exact",
        random_state=derived_seed(seed, "evaluate", "map") % 2**32,
    )
    places_N2: np.ndarray = layout.fit_transform(reduced_NC).astype(np.float32)
    return places_N2


def nearest(queries_MD: Tensor, train_ND: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Cosines and positions of the `count` nearest train images of each query, both (M, count)."""
    count = min(count, len(train_ND))
    cosines_MN = unit_rows(queries_MD) @ unit_rows(train_ND).T
    found = cosines_MN.topk(count, dim=1)
    return found.values, found.indices


def _drawn(images: int, most: int, seed: int, use: str) -> np.ndarray:
    """At most `most` positions among `images`, in order."""
    order = numpy_generator(seed, "evaluate", use).permutation(images)
    return np.sort(order[:most])
