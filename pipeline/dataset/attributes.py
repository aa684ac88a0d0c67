"""Attribute columns as `column=value`: the values of each image, and their ranking by entropy.

The scheme of Tsai et al. 2021 (arXiv 2106.02869): binary attributes ranked by entropy.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config.cluster import AttributesParams
from pipeline.dataset.attribute_types import read_column
from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.label_columns import label_columns

LARGEST_CHOICE = 32
"""Maximum number of joined values in the landscape: beyond it, hardly two images agree in all of them."""


def binary_entropy_bits(probability: float) -> float:
    """Returns the entropy of a yes-or-no attribute that holds for a share `probability` of the images."""
    if probability <= 0.0 or probability >= 1.0:
        return 0.0
    other = 1.0 - probability
    return float(-probability * np.log2(probability) - other * np.log2(other))


def ranked_by_entropy(values: Sequence[Collection[str]]) -> list[tuple[str, float]]:
    """Returns all values, each with its entropy in bits as a binary attribute, highest first, ties by name.

    `values` holds the set of values of each image.
    """
    return ranked_counts(Counter(value for of_image in values for value in set(of_image)), len(values))


def ranked_counts(images_with: Mapping[str, int], images: int) -> list[tuple[str, float]]:
    """Returns the same from the number of images with each value."""
    entropies = ((name, binary_entropy_bits(count / images)) for name, count in images_with.items())
    return sorted(entropies, key=lambda item: (-item[1], item[0]))


def informative(values: Sequence[Collection[str]]) -> list[str]:
    """Returns the values that some images have and others lack, highest entropy first."""
    return [name for name, entropy in ranked_by_entropy(values) if entropy > 0.0]


def present_of(values: Sequence[Collection[str]], names: Sequence[str]) -> list[frozenset[str] | None]:
    """Returns which of `names` each image has.

    It is None for an image without any value, of which nothing is known. An image with values, but none of
    `names`, is known to lack them.
    """
    requested = frozenset(names)
    # Equal sets are one object, as there are far fewer of them than images.
    same: dict[frozenset[str], frozenset[str]] = {}
    found = (requested.intersection(of_image) if of_image else None for of_image in values)
    return [present if present is None else same.setdefault(present, present) for present in found]


@dataclass(frozen=True)
class KnownAttributes:
    """The known attributes of each image, as `column=value`."""

    of_images: list[list[str]]
    column_of: dict[str, str]
    """The column of each `column=value`, as both may contain equals signs."""
    negations: set[str]
    """The values for no, in columns of yes and no."""
    notes: dict[str, str]
    """By column, how its cells were interpreted."""
    cells: dict[str, list[str | None]]
    """By column, one per image."""


def ranked_attributes(
    train: ImageSplit, params: AttributesParams
) -> tuple[KnownAttributes, list[str], list[str]]:
    """Returns the known attributes of all columns, the ranking of their values, and the columns left out.

    The result is cached, as there may be hundreds of columns.
    """
    key = ("attributes", params.bins, params.label_columns)
    if key not in train.cache:
        known = known_attributes(train, train.attribute_names, params)
        left_out = label_columns(known.cells, train) if params.label_columns == "leave_out" else []
        ranking = [value for value in ranked_values(known) if known.column_of[value] not in left_out]
        train.cache[key] = known, ranking, left_out
    result: tuple[KnownAttributes, list[str], list[str]] = train.cache[key]
    return result


def ranked_values(known: KnownAttributes) -> list[str]:
    """Returns all `column=value` that some images have and others lack, highest entropy first.

    These are the binary attributes of Tsai et al. 2021: a column of only yes and no is one attribute, yes; no
    and unknown are not distinguished here.
    """
    return [name for name in informative(known.of_images) if name not in known.negations]


def known_attributes(train: ImageSplit, names: list[str], params: AttributesParams) -> KnownAttributes:
    columns = {
        name: read_column(name, train.attribute(name, "cluster.attributes.columns"), params.bins)
        for name in names
    }
    # Each text is created once, as a million images share them.
    texts = {
        name: {cell: f"{_unambiguous(name)}={cell}" for cell in set(column.cells) if cell is not None}
        for name, column in columns.items()
    }
    of_images: list[list[str]] = [[] for _ in range(len(train))]
    for name, column in columns.items():
        for of_image, cell in zip(of_images, column.cells, strict=True):
            if cell is not None:
                of_image.append(texts[name][cell])
    return KnownAttributes(
        of_images=of_images,
        column_of={text: name for name in names for text in texts[name].values()},
        negations={texts[name][column.no] for name, column in columns.items() if column.no is not None},
        notes={name: column.note for name, column in columns.items() if column.note is not None},
        cells={name: column.cells for name, column in columns.items()},
    )


def _unambiguous(name: str) -> str:
    """Returns the name, quoted if it contains an equals sign: `city=London=1` may be of the column `city`."""
    return repr(name) if "=" in name else name


def attribute_vectors(train: ImageSplit) -> tuple[list[str], np.ndarray]:
    """Returns all `column=value` that some images have and others lack, and a matrix of them.

    They are sorted by entropy, highest first. The matrix is (N, A) int8: 1 for the value, 0 for another value
    of the column, -1 if it is missing. A column of yes and no is one attribute. Values of a single image are
    left out: a column of titles would be one attribute per image. Labels are not read.
    """
    known = known_attributes(train, train.attribute_names, AttributesParams())
    counts = Counter(value for of_image in known.of_images for value in of_image)
    names = [name for name in ranked_values(known) if counts[name] > 1]
    place_of = {name: place for place, name in enumerate(names)}
    places_of: dict[str, list[int]] = {}
    for name, place in place_of.items():
        places_of.setdefault(known.column_of[name], []).append(place)
    vectors_NA = np.full((len(train), len(names)), -1, np.int8)
    for row, of_image in enumerate(known.of_images):
        for value in of_image:
            vectors_NA[row, places_of.get(known.column_of[value], [])] = 0
        vectors_NA[row, [place_of[value] for value in of_image if value in place_of]] = 1
    return names, vectors_NA
