"""Joint distributions of clusters and labels whose information is known, to draw samples from."""

import numpy as np
from numpy.typing import NDArray

from pipeline.sources.population import ATTRIBUTE_NAMES, joint_table

Joint = NDArray[np.float64]


def true_information_bits(joint_KL: Joint) -> float:
    def entropy(probabilities: NDArray[np.float64]) -> float:
        positive = probabilities[probabilities > 0]
        return float(-(positive * np.log2(positive)).sum())

    return entropy(joint_KL.sum(axis=1)) + entropy(joint_KL.sum(axis=0)) - entropy(joint_KL.ravel())


def of_posts() -> dict[str, Joint]:
    """The synthetic data set's: the joint value of its first attributes, against its labels."""
    return {
        f"posts, {count} attributes": joint_table(ATTRIBUTE_NAMES[:count]).T
        for count in range(1, len(ATTRIBUTE_NAMES) + 1)
    }


def of_other_shapes() -> dict[str, Joint]:
    """Independent, sparse, dense, nested and equal partitions."""
    generator = np.random.default_rng(5)
    zipf_K = 1 / np.arange(1, 501)
    nested_KL = np.zeros((600, 30))
    nested_KL[np.arange(600), np.arange(600) % 30] = np.arange(1, 601) ** -0.7
    return {
        "independent, 50 x 10": np.full((50, 10), 1 / 500),
        "independent, Zipf 500 x 30": np.outer(zipf_K / zipf_K.sum(), np.full(30, 1 / 30)),
        "sparse, 500 x 30": generator.dirichlet(np.full(15_000, 0.02)).reshape(500, 30),
        "dense, 300 x 30": generator.dirichlet(np.full(9_000, 1.0)).reshape(300, 30),
        "nested, 600 in 30": nested_KL / nested_KL.sum(),
        "equal, 30": np.eye(30) / 30,
    }
