"""The attributes and hashtags of train images, encoded as an objective takes them.

Shape letters: N images of the training; A binary values; C columns.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config.cluster import AttributesParams
from pipeline.config.objectives import MOST_HEADS
from pipeline.config.pretrain import PretrainParams
from pipeline.dataset.attributes import attribute_vectors, informative, known_attributes
from pipeline.dataset.dataset import ImageSplit
from pipeline.objectives.traits import TRAITS
from pipeline.runtime.errors import UserError, listed

Encoding = Callable[[ImageSplit, PretrainParams], NDArray[np.integer]]


def attributes_of(params: PretrainParams, train: ImageSplit, ids: list[str]) -> Tensor | None:
    """Returns the attributes of the train images `ids`, or None if the objective learns from none.

    Raises `UserError` if the data has none.
    """
    traits = TRAITS[params.objective]
    if traits.learns_from != "attributes":
        return None
    encoded = ENCODINGS[traits.attributes](train, params)
    if not encoded.shape[1]:
        raise UserError(
            f"pretrain.objective={params.objective} learns from attributes, and the data has none that "
            "differs between images: name columns in ingest.columns.attributes or choose another objective"
        )
    row_of = {image: row for row, image in enumerate(train.ids.to_pylist())}
    return torch.from_numpy(encoded[[row_of[image] for image in ids]])


def _values(train: ImageSplit, _params: PretrainParams) -> NDArray[np.int8]:
    """Returns `attribute_vectors`: 1 if the value holds, 0 if it does not, -1 if that is unknown; (N, A)."""
    return attribute_vectors(train)[1]


def _columns(train: ImageSplit, params: PretrainParams) -> NDArray[np.int32]:
    """Returns for each column the number of the image's value in it, or -1 if that is unknown; (N, C).

    Raises `UserError` for a column that does not exist, and for more than `MOST_HEADS`.
    """
    requested = params.multi_head.columns
    if absent := [name for name in requested if name not in train.attribute_names]:
        raise UserError(
            f"pretrain.multi_head.columns names {listed(absent)}, and the images have the attributes "
            f"{listed(train.attribute_names) or 'none'}: name some of these"
        )
    cells = known_attributes(train, requested or train.attribute_names, AttributesParams()).cells
    codes = {name: _codes(column) for name, column in cells.items()}
    if not requested:
        codes = {name: codes_N for name, codes_N in codes.items() if _repeats(codes_N)}
    if len(codes) > MOST_HEADS:
        raise UserError(
            f"pretrain.objective={params.objective} has a head for each column, and {len(codes):,} "
            f"attributes differ between images: name at most {MOST_HEADS} in pretrain.multi_head.columns"
        )
    return np.stack(list(codes.values()), axis=1) if codes else np.zeros((len(train), 0), np.int32)


def _codes(cells: Sequence[str | None]) -> NDArray[np.int32]:
    code_of = {value: code for code, value in enumerate(sorted({cell for cell in cells if cell is not None}))}
    return np.array([-1 if cell is None else code_of[cell] for cell in cells], np.int32)


def _repeats(codes_N: NDArray[np.int32]) -> bool:
    """Returns whether the column has several values, and one of them more than once."""
    counts = np.bincount(codes_N[codes_N >= 0])
    return len(counts) > 1 and int(counts.max()) > 1


def _values_and_hashtags(train: ImageSplit, params: PretrainParams) -> NDArray[np.int8]:
    """Returns 1 for each `column=value` and hashtag that an image has, and 0 for the others; (N, A).

    They are those of highest entropy among those that some images have and others lack, and more than one.
    """
    known = known_attributes(train, train.attribute_names, AttributesParams())
    values = [
        [*(value for value in of_image if value not in known.negations), *(f"#{tag}" for tag in set(tags))]
        for of_image, tags in zip(known.of_images, train.hashtags, strict=True)
    ]
    counts = Counter(value for of_image in values for value in of_image)
    names = [name for name in informative(values) if counts[name] > 1][: params.soft.values]
    place_of = {name: place for place, name in enumerate(names)}
    has_NA = np.zeros((len(values), len(names)), np.int8)
    for row, of_image in enumerate(values):
        has_NA[row, [place_of[value] for value in of_image if value in place_of]] = 1
    return has_NA


ENCODINGS: dict[str, Encoding] = {
    "values": _values,
    "columns": _columns,
    "values_and_hashtags": _values_and_hashtags,
}
"""By `Traits.attributes`."""
