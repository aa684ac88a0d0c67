"""Methods `coarsen`, `subdivide`, `permute`: labels changed in a controlled way, for studies.

The series of Tsai et al. (arXiv 2202.06670, section 4): each changes one of I(Z;T) and H(Z|T) and keeps the
other. They read labels, so they do not measure auxiliary information.
"""

import numpy as np

from pipeline.clustering.base import Clusters
from pipeline.clustering.methods.references import known_labels
from pipeline.config.cluster import CoarsenParams, PermuteParams, SubdivideParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.runtime.errors import UserError
from pipeline.runtime.seeding import numpy_generator
from pipeline.statistics.contingency import UNKNOWN
from pipeline.statistics.values import codes_of_values


def coarsen_labels(train: ImageSplit, params: CoarsenParams, seed: int) -> Clusters:
    """Merges random pairs of labels until `cluster.coarsen.clusters` remain: H(Z|T) = 0, I falls.

    The order of the merges does not depend on the number of clusters, so coarser clusters contain finer ones.
    """
    labels_N = codes_of_values(known_labels(train))
    count = labels_N.max() + 1
    if params.clusters > count:
        raise UserError(
            f"cluster.coarsen.clusters={params.clusters} is more than the {count} labels: lower it"
        )
    generator = numpy_generator(seed, "cluster", "coarsen")
    groups = [[label] for label in range(count)]
    while len(groups) > params.clusters:
        first, second = sorted(generator.choice(len(groups), 2, replace=False))
        groups[first] += groups.pop(second)
    group_of_K = np.empty(count, np.int64)
    for number, members in enumerate(groups):
        group_of_K[members] = number
    return Clusters(np.where(labels_N == UNKNOWN, UNKNOWN, group_of_K[labels_N]))


def subdivide_labels(train: ImageSplit, params: SubdivideParams, seed: int) -> Clusters:
    """Halves each label `cluster.subdivide.depth` times at random: I = H(T), H(Z|T) grows by 1 bit each."""
    labels_N = codes_of_values(known_labels(train))
    generator = numpy_generator(seed, "cluster", "subdivide")
    parts = 2**params.depth
    parts_N = np.empty(len(labels_N), np.int64)
    for label in np.unique(labels_N):
        rows = np.flatnonzero(labels_N == label)
        # A row's part is given by the low bits of its position in a random order, so deeper parts refine
        # shallower ones.
        parts_N[generator.permutation(rows)] = np.arange(len(rows)) % parts
    pairs = zip(labels_N.tolist(), parts_N.tolist(), strict=True)
    return Clusters(codes_of_values([None if pair[0] == UNKNOWN else pair for pair in pairs]))


def permute_labels(train: ImageSplit, params: PermuteParams, seed: int) -> Clusters:
    """Shuffles the clusters among the images of `cluster.permute.labels` random labels.

    H(Z) stays constant; I falls with the number of labels.
    """
    labels_N = codes_of_values(known_labels(train))
    count = labels_N.max() + 1
    if params.labels > count:
        raise UserError(f"cluster.permute.labels={params.labels} is more than the {count} labels: lower it")
    order_K = numpy_generator(seed, "cluster", "permute", "labels").permutation(count)
    rows = np.flatnonzero(np.isin(labels_N, order_K[: params.labels]))
    generator = numpy_generator(seed, "cluster", "permute", "images", params.labels)
    labels_N[rows] = generator.permutation(labels_N[rows])
    return Clusters(labels_N)
