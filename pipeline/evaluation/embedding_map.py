"""Inspection of the features: a map of some images, and the nearest neighbours of others.

These are no metrics, and labels are not used. Shape letters: N train images, M queries, D features.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from torch import Tensor

from pipeline.runtime.magnitude import unit_rows
from pipeline.runtime.seeding import derived_seed, numpy_generator
from pipeline.storage.checksums import write_checksummed
from pipeline.storage.schema import MAP_SCHEMA, NEAREST_SCHEMA

MAPPED = 500
"""Maximum number of train images on the map."""
FEWEST_MAPPED = 10
PERPLEXITY = 30
COMPONENTS = 50
"""Number of principal components as the input of t-SNE, as its authors advise."""
QUERIES = 8
NEIGHBOURS = 6


def write_map(
    folder: Path,
    train_ids: Sequence[str],
    train_ND: Tensor,
    test_ids: Sequence[str],
    test_MD: Tensor,
    seed: int,
) -> None:
    """Writes `map.parquet` and `nearest.parquet` into `folder`.

    The choice of images depends only on the seed and the number of images, so it is the same for all arms.
    Without test images, the queries are train images, which are not their own neighbours.
    """
    mapped_N = _sample(len(train_ids), MAPPED, seed, "map")
    places_N2 = map_of(train_ND[torch.from_numpy(mapped_N)], seed)
    mapped = [
        {"id": train_ids[n], "x": x, "y": y}
        for n, (x, y) in zip(mapped_N[: len(places_N2)], places_N2, strict=True)
    ]
    write_checksummed(pa.Table.from_pylist(mapped, schema=MAP_SCHEMA), folder / "map.parquet")

    of_train = not test_ids
    ids, features_MD = (train_ids, train_ND) if of_train else (test_ids, test_MD)
    queries_Q = _sample(len(ids), QUERIES, seed, "queries")
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
    """Returns (N, 2) float32 coordinates by t-SNE on the unit sphere; no rows for too few images, or if all
    have the same direction."""
    directions_ND = unit_rows(features_ND).cpu().numpy()
    if len(directions_ND) < FEWEST_MAPPED or not np.ptp(directions_ND, axis=0).any():
        return np.zeros((0, 2), np.float32)
    components = min(COMPONENTS, *directions_ND.shape)
    reduced_NC = PCA(components, svd_solver="full").fit_transform(directions_ND)
    # "exact" sums in a fixed order; the faster method is multi-threaded, and its maps differ between
    # machines.
    layout = TSNE(
        perplexity=min(PERPLEXITY, (len(features_ND) - 1) / 3),
        init="pca",
        method="exact",
        random_state=derived_seed(seed, "evaluate", "map") % 2**32,
    )
    places_N2: np.ndarray = layout.fit_transform(reduced_NC).astype(np.float32)
    return places_N2


def nearest(queries_MD: Tensor, train_ND: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Returns cosines and positions of the `count` nearest train images of each query, (M, count) each."""
    count = min(count, len(train_ND))
    cosines_MN = unit_rows(queries_MD) @ unit_rows(train_ND).T
    found = cosines_MN.topk(count, dim=1)
    return found.values, found.indices


def _sample(images: int, most: int, seed: int, use: str) -> np.ndarray:
    """Returns at most `most` positions among `images`, in order."""
    order = numpy_generator(seed, "evaluate", use).permutation(images)
    return np.sort(order[:most])
