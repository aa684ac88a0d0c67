"""Method `attributes`: images with equal values of the most informative attributes share a cluster."""

from collections.abc import Iterator
from dataclasses import replace

from pipeline.clustering.base import Choice, Clusters, clusters_of_sets
from pipeline.config.cluster import AttributesParams
from pipeline.dataset.attributes import (
    LARGEST_CHOICE,
    informative,
    known_attributes,
    present_of,
    ranked_attributes,
)
from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.label_columns import label_columns
from pipeline.runtime.errors import UserError, listed

DEFAULT_TOP = 12


def cluster_by_attributes(train: ImageSplit, params: AttributesParams, _seed: int) -> Clusters:
    """Joins the columns of `cluster.attributes.columns`, or else the `top` values of all columns.

    In named columns, a missing value counts as a value. An image without any value is unknown. Only the yes
    of a yes-or-no column is ranked: no has the same entropy and would count the column twice.
    """
    left_out: list[str] = []
    if not train.attribute_names:
        raise UserError(
            "cluster.method=attributes: the data has no attribute column; name some in "
            "ingest.columns.attributes or choose another cluster.method"
        )
    if params.columns:
        known = known_attributes(train, params.columns, params)
        ranking = informative(known.of_images)
    else:
        known, ranking, left_out = ranked_attributes(train, params)
    if not ranking:
        but = f", apart from {listed(left_out)}, from which the label follows" if left_out else ""
        raise UserError(
            f"cluster.method=attributes: no attribute differs between the images{but}: name other columns, "
            "or choose another cluster.method"
        )
    if params.columns:
        joined, named = ranking, f"the columns {listed(params.columns)}"
    elif params.top is not None and params.top > len(ranking):
        raise UserError(
            f"cluster.attributes.top={params.top} is more than the {len(ranking)} values that differ between "
            "the images: lower it"
        )
    else:
        joined = ranking[: params.top or DEFAULT_TOP]
        named = listed(joined)
    columns = list(dict.fromkeys(known.column_of[value] for value in joined))
    notes = [f"joined {named}", *(known.notes[column] for column in columns if column in known.notes)]
    if left_out:
        notes.append(
            f"left out {listed(left_out)}, from which the label of nearly every image follows: set "
            "cluster.attributes.label_columns=keep to include such columns, and leave them out of "
            "ingest.columns.attributes if an objective learns from attributes, as it would read them"
        )
    clusters = clusters_of_sets(present_of(known.of_images, joined))
    # An automatic choice has already left out such columns.
    may_determine = columns if params.columns or params.label_columns == "keep" else []
    determining = label_columns({column: known.cells[column] for column in may_determine}, train)
    return replace(clusters, notes=notes, label_columns=determining, made_of={"columns": columns})


def attribute_choices(train: ImageSplit, params: AttributesParams) -> Iterator[Choice[AttributesParams]]:
    """Yields every number of joined values, until almost every image is alone."""
    if train.attribute_names:
        _, ranking, _ = ranked_attributes(train, params)
        for top in range(1, min(len(ranking), LARGEST_CHOICE) + 1):
            yield Choice(f"top {top}", params.model_copy(update={"columns": [], "top": top}), nested=True)
