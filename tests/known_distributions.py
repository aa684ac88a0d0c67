"""Joint distributions of clusters and labels whose information is known, to draw samples from."""

import numpy as np
from numpy.typing import NDArray

from pipeline.sources.synthetic.population import ATTRIBUTE_NAMES, joint_table

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


def of_small_tables() -> dict[str, Joint]:
    generator = np.random.default_rng(7)
    nested_KL = np.zeros((20, 5))
    nested_KL[np.arange(20), np.arange(20) % 5] = _power_law(20, 0.7)
    return {
        "weak, 2 x 2": np.array([[0.3, 0.2], [0.2, 0.3]]),
        "dependent, 4 x 3": generator.dirichlet(np.full(12, 0.7)).reshape(4, 3),
        "dependent, 10 x 5": generator.dirichlet(np.full(50, 0.7)).reshape(10, 5),
        "independent, 5 x 4": np.outer(_power_law(5, 1), _power_law(4, 1)),
        "equal, 10": np.diag(_power_law(10, 1)),
        "nested, 20 in 5": nested_KL,
    }


def of_large_tables() -> dict[str, Joint]:
    """Of cluster sizes with a long tail but where the name says otherwise."""
    generator = np.random.default_rng(7)
    sizes_K, labels_L = _power_law(100, 0.8), _power_law(44, 0.9)
    main_K = generator.choice(44, 100, p=labels_L)
    noisy_KL = 0.5 * np.eye(44)[main_K] + 0.5 * labels_L
    pure_KL = generator.dirichlet(8 * labels_L, size=100)
    lognormal_KL = labels_L * np.exp(generator.normal(size=(100, 44)))
    lognormal_KL /= lognormal_KL.sum(axis=1, keepdims=True)
    return {
        "sparse cells, 100 x 44": generator.dirichlet(np.full(4400, 0.1)).reshape(100, 44),
        "full cells, 100 x 44": generator.dirichlet(np.ones(4400)).reshape(100, 44),
        "a main label and noise, 100 x 44": sizes_K[:, None] * noisy_KL,
        "few labels each, 100 x 44": sizes_K[:, None] * pure_KL,
        "log-normal, 100 x 44": sizes_K[:, None] * lognormal_KL,
        "independent, 100 x 44": np.outer(sizes_K, labels_L),
        "independent and even, 100 x 20": np.full((100, 20), 1 / 2000),
        "independent, 100 x 20": np.outer(sizes_K, _power_law(20, 0.9)),
        "power law, 2,000 x 30": generator.permutation(_power_law(60_000, 1.3)).reshape(2000, 30),
    }


def _power_law(values: int, exponent: float) -> NDArray[np.float64]:
    shares = np.arange(1.0, values + 1) ** -exponent
    return np.asarray(shares / shares.sum())
