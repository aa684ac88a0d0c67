"""Binary attributes ranked by entropy, and the joint value of the first of them.

The scheme of Tsai et al. 2021 (arXiv 2106.02869): images that agree in the k attributes of highest
entropy form a cluster. The clusters of k + 1 attributes refine those of k.
"""

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

LARGEST_CHOICE = 32
"""Joined values up to which the landscape looks: beyond, hardly two images agree in all of them."""


def binary_entropy_bits(probability: float) -> float:
    """The entropy of a yes-or-no attribute that holds for a share `probability` of the images."""
    if probability <= 0.0 or probability >= 1.0:
        return 0.0
    other = 1.0 - probability
    return float(-probability * np.log2(probability) - other * np.log2(other))


def ranked_by_entropy(values: Sequence[Collection[str]]) -> list[tuple[str, float]]:
    """All values that occur, each with its entropy as a binary attribute in bits, highest first.

    `values` holds the set of values of each image. Ties are broken by name.
    """
    counts = Counter(value for of_image in values for value in set(of_image))
    entropies = ((name, binary_entropy_bits(count / len(values))) for name, count in counts.items())
    return sorted(entropies, key=lambda item: (-item[1], item[0]))


def informative(values: Sequence[Collection[str]]) -> list[str]:
    """The values that some images have and others lack, those of highest entropy first."""
    return [name for name, entropy in ranked_by_entropy(values) if entropy > 0.0]


def present_of(values: Sequence[Collection[str]], names: Sequence[str]) -> list[frozenset[str] | None]:
    """Which of `names` each image has.

    An image that has no value at all gets None: nothing is known of it. One that has values, but none of
    `names`, is known to lack them.
    """
    wanted = frozenset(names)
    # Equal sets are one object: there are far fewer of them than images.
    same: dict[frozenset[str], frozenset[str]] = {}
    found = (wanted.intersection(of_image) if of_image else None for of_image in values)
    return [its if its is None else same.setdefault(its, its) for its in found]
