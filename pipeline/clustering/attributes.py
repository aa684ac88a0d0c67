"""Method `attributes`: images that agree in the most informative attributes share a cluster."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pipeline.clustering.base import Choice, Clusters, TrainImages, clusters_of_sets, with_section
from pipeline.clustering.columns import read_column
from pipeline.clustering.joint import LARGEST_CHOICE, informative, present_of
from pipeline.clustering.label_columns import label_columns
from pipeline.clustering.params import AttributesParams, ClusterParams
from pipeline.errors import UserError, listed

DEFAULT_TOP = 12


def cluster_by_attributes(train: TrainImages, params: ClusterParams, _seed: int) -> Clusters:
    """Joins whole columns if `cluster.attributes.columns` names some, else the `top` values of all columns.

    A missing value is a value of its own among named columns. An image without any value is unknown. Of a
    column of yes and no only yes is ranked: its no has the same entropy and would count it twice.
    """
    chosen = params.attributes
    left_out: list[str] = []
    if not train.attribute_names:
        raise UserError(
            "cluster.method=attributes: the data has no attribute column; name some in "
            "ingest.columns.attributes or choose another cluster.method"
        )
    if chosen.columns:
        known = known_attributes(train, chosen.columns, chosen)
        ranking = informative(known.of_images)
    else:
        known, ranking, left_out = _all_ranked(train, chosen)
    if not ranking:
        but = f", apart from {listed(left_out)}, which determine the label" if left_out else ""
        raise UserError(
            f"cluster.method=attributes: no attribute differs between the images{but}: name other columns, "
            "or choose another cluster.method"
        )
    if chosen.columns:
        joined, named = ranking, f"the columns {listed(chosen.columns)}"
    elif chosen.top is not None and chosen.top > len(ranking):
        raise UserError(
            f"cluster.attributes.top={chosen.top} is more than the {len(ranking)} values that differ between "
            "the images: lower it"
        )
    else:
        joined = ranking[: chosen.top or DEFAULT_TOP]
        named = listed(joined)
    columns = list(dict.fromkeys(known.column_of[value] for value in joined))
    notes = [f"joined {named}", *(known.notes[column] for column in columns if column in known.notes)]
    if left_out:
        notes.append(
            f"left out {listed(left_out)}, which determine the label of nearly every image: set "
            "cluster.attributes.label_columns=keep to include them"
        )
    clusters = clusters_of_sets(present_of(known.of_images, joined))
    # Of an automatic choice such columns are left out already.
    may_determine = columns if chosen.columns or chosen.label_columns == "keep" else []
    determining = label_columns({column: known.cells[column] for column in may_determine}, train)
    return replace(clusters, notes=notes, label_columns=determining, made_of={"columns": columns})


def attribute_choices(train: TrainImages, params: ClusterParams) -> Iterator[Choice]:
    """Every number of joined values, up to where almost every image is alone."""
    if train.attribute_names:
        _, ranking, _ = _all_ranked(train, params.attributes)
        for top in range(1, min(len(ranking), LARGEST_CHOICE) + 1):
            chosen = with_section(params, "attributes", columns=[], top=top)
            yield Choice(f"top {top}", chosen, nested=True)


def attribute_vectors(train: TrainImages) -> tuple[list[str], np.ndarray]:
    """All `column=value` that some images have and others lack, the most informative first, and who has them.

    (N, A) int8: 1 where it holds, 0 where the column has another value, -1 where the column has none. A
    column of yes and no is one attribute. What one image alone has is left out: a column of titles would be
    an attribute per image. Labels are not read.
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


@dataclass(frozen=True)
class Known:
    """What is known of each image, as `column=value`."""

    of_images: list[list[str]]
    column_of: dict[str, str]
    """Of each `column=value`: both may hold further equals signs."""
    negations: set[str]
    """Those that say no, in columns of yes and no."""
    notes: dict[str, str]
    """By column what was made of its cells."""
    cells: dict[str, list[str | None]]
    """By column, one per image."""


def _all_ranked(train: TrainImages, params: AttributesParams) -> tuple[Known, list[str], list[str]]:
    """What is known of each image in all columns, the ranking of their values, and the columns that it leaves
    out. Computed once and kept, as there may be hundreds of columns."""
    key = ("attributes", params.bins, params.label_columns)
    if key not in train.worked_out:
        known = known_attributes(train, train.attribute_names, params)
        left_out = label_columns(known.cells, train) if params.label_columns == "leave_out" else []
        ranking = [value for value in ranked_values(known) if known.column_of[value] not in left_out]
        train.worked_out[key] = known, ranking, left_out
    made: tuple[Known, list[str], list[str]] = train.worked_out[key]
    return made


def ranked_values(known: Known) -> list[str]:
    """All `column=value` that some images have and others lack, those of highest entropy first.

    The binary attributes of Tsai et al. 2021: a column that says nothing but yes and no is one attribute,
    that it holds; whether it is said not to hold, or nothing is known, does not matter here.
    """
    return [name for name in informative(known.of_images) if name not in known.negations]


def known_attributes(train: TrainImages, names: list[str], params: AttributesParams) -> Known:
    columns = {
        name: read_column(name, train.attribute(name, "cluster.attributes.columns"), params.bins)
        for name in names
    }
    # Each text is made once: a million images share them.
    texts = {
        name: {cell: f"{_in_quotes(name)}={cell}" for cell in set(column.cells) if cell is not None}
        for name, column in columns.items()
    }
    rows = zip(*(column.cells for column in columns.values()), strict=True)
    return Known(
        of_images=[
            [texts[name][cell] for name, cell in zip(names, row, strict=True) if cell is not None]
            for row in rows
        ],
        column_of={text: name for name in names for text in texts[name].values()},
        negations={texts[name][column.no] for name, column in columns.items() if column.no is not None},
        notes={name: column.note for name, column in columns.items() if column.note is not None},
        cells={name: column.cells for name, column in columns.items()},
    )


def _in_quotes(name: str) -> str:
    """Where `city=London=1` could be of the column `city`, too."""
    return repr(name) if "=" in name else name
