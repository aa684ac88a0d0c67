"""Method `attributes`: images that agree in the most informative attributes share a cluster."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np

from pipeline.clustering.base import Choice, Clusters, TrainImages, clusters_of_sets, with_section
from pipeline.clustering.joint import LARGEST_CHOICE, informative, present_of
from pipeline.clustering.params import AttributesParams, ClusterParams
from pipeline.errors import UserError, listed
from pipeline.schema import NO, YES

CATEGORICAL_UP_TO = 20
"""Different values up to which a column of numbers is taken as categories, such as years."""
DEFAULT_TOP = 12
OPPOSITES = {NO: YES, "false": "true", "0": "1", "-1": "1"}
"""What a column of yes and no says for no, and for yes."""


def cluster_by_attributes(train: TrainImages, params: ClusterParams, _seed: int) -> Clusters:
    """Joins whole columns if `cluster.attributes.columns` names some, else the `top` values of all columns.

    A missing value is a value of its own among named columns. An image without any value is unknown. Of a
    column of yes and no only yes is ranked: its no has the same entropy and would count it twice.
    """
    chosen = params.attributes
    if not train.attribute_names:
        raise UserError(
            "cluster.method=attributes: the data has no attribute column; name some in "
            "ingest.columns.attributes or choose another cluster.method"
        )
    if chosen.columns:
        values = attribute_values(train, chosen.columns, chosen)
        ranking = informative(values)
    else:
        values, ranking = _all_ranked(train, chosen)
    if not ranking:
        raise UserError(
            "cluster.method=attributes: no attribute differs between the images; name other columns or "
            "choose another cluster.method"
        )
    if chosen.columns:
        joined, told = ranking, f"the columns {listed(chosen.columns)}"
    elif chosen.top is not None and chosen.top > len(ranking):
        raise UserError(
            f"cluster.attributes.top={chosen.top} is more than the {len(ranking)} values that differ between "
            "the images: lower it"
        )
    else:
        joined = ranking[: chosen.top or DEFAULT_TOP]
        told = listed(joined)
    return replace(clusters_of_sets(present_of(values, joined)), notes=[f"joined {told}"])


def attribute_choices(train: TrainImages, params: ClusterParams) -> Iterator[Choice]:
    """Every number of joined values, up to where almost every image is alone."""
    if train.attribute_names:
        _, ranking = _all_ranked(train, params.attributes)
        for top in range(1, min(len(ranking), LARGEST_CHOICE) + 1):
            yield f"top {top}", with_section(params, "attributes", columns=[], top=top)


def attribute_vectors(train: TrainImages) -> tuple[list[str], np.ndarray]:
    """All `column=value` that some images have and others lack, the most informative first, and who has them.

    (N, A) int8: 1 where it holds, 0 where the column has another value, -1 where the column has none. A
    column of yes and no is one attribute. What one image alone has is left out: a column of titles would be
    an attribute an image.
    """
    values = attribute_values(train, train.attribute_names, AttributesParams())
    counts = Counter(value for of_image in values for value in of_image)
    names = [name for name in ranked_values(values) if counts[name] > 1]
    place_of = {name: place for place, name in enumerate(names)}
    places_of: dict[str, list[int]] = {}
    for name, place in place_of.items():
        places_of.setdefault(name.partition("=")[0], []).append(place)
    vectors_NA = np.full((len(train), len(names)), -1, np.int8)
    for row, of_image in enumerate(values):
        for value in of_image:
            vectors_NA[row, places_of.get(value.partition("=")[0], [])] = 0
        vectors_NA[row, [place_of[value] for value in of_image if value in place_of]] = 1
    return names, vectors_NA


def _all_ranked(train: TrainImages, params: AttributesParams) -> tuple[list[list[str]], list[str]]:
    """What is known of each image in all columns, and the ranking: of hundreds of columns made but once."""
    key = ("attributes", params.bins)
    if key not in train.worked_out:
        values = attribute_values(train, train.attribute_names, params)
        train.worked_out[key] = values, ranked_values(values)
    made: tuple[list[list[str]], list[str]] = train.worked_out[key]
    return made


def ranked_values(values: Sequence[Collection[str]]) -> list[str]:
    """All `column=value` that some images have and others lack, those of highest entropy first.

    The binary attributes of Tsai et al. 2021: a column that says nothing but yes and no is one attribute,
    that it holds; whether it is said not to hold, or nothing is known, does not matter here.
    """
    said: dict[str, set[str]] = {}
    for value in set().union(*values):
        column, _, cell = value.partition("=")
        said.setdefault(column, set()).add(cell)
    negations = {
        f"{column}={no}"
        for column, cells in said.items()
        for no, yes in OPPOSITES.items()
        if no in cells and cells <= {no, yes}
    }
    return [name for name in informative(values) if name not in negations]


def attribute_values(train: TrainImages, names: list[str], params: AttributesParams) -> list[list[str]]:
    """What is known of each image as `column=value`; a measurement as its part of the column."""
    columns = {
        name: _categories(train.attribute(name, "cluster.attributes.columns"), params) for name in names
    }
    # Each text is made once: a million images share them.
    values = {
        name: {cell: f"{name}={cell}" for cell in set(cells) if cell is not None}
        for name, cells in columns.items()
    }
    return [
        [values[name][cell] for name, cell in zip(names, row, strict=True) if cell is not None]
        for row in zip(*columns.values(), strict=True)
    ]


def _categories(cells: list[str | None], params: AttributesParams) -> list[str | None]:
    """`cells` as they are, or as the parts of equal size of a column of numbers."""
    numbers_N = _measurements(cells)
    if numbers_N is None:
        return cells
    edges = np.unique(np.nanquantile(numbers_N, np.linspace(0, 1, params.bins + 1)))
    parts = max(1, len(edges) - 1)
    # A value on an edge belongs to the part above it; the last part holds its upper edge, too.
    part_N = np.clip(np.searchsorted(edges, numbers_N, side="right"), 1, parts)
    return [
        None if np.isnan(number) else f"part {part} of {parts}, from {edges[part - 1]:g}"
        for number, part in zip(numbers_N, part_N, strict=True)
    ]


def _measurements(cells: list[str | None]) -> np.ndarray | None:
    """The column as numbers, NaN where nothing is known; None if it is text, categories or identifiers."""
    known = [cell for cell in cells if cell is not None]
    if len(set(known)) <= CATEGORICAL_UP_TO:
        return None
    try:
        numbers_N = np.array([np.nan if cell is None else float(cell) for cell in cells])
    except ValueError:
        return None
    finite_N = numbers_N[~np.isnan(numbers_N)]
    whole_and_unique = bool((finite_N % 1 == 0).all()) and len(set(known)) == len(known)
    return None if whole_and_unique or not np.isfinite(finite_N).all() else numbers_N
