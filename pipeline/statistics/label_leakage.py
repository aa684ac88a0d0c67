"""Hashtags that reveal the label: by their text, or because they mark exactly the images of one label."""

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.statistics.contingency import UNKNOWN, Codes, Contingency
from pipeline.statistics.values import encoded
from pipeline.tables.cells import normalized

Tags: TypeAlias = pa.Array | pa.ChunkedArray | Sequence[Sequence[str] | None]

LEAST_SHARE_OF_LABEL = 0.2
"""Minimum share of a label's images that carry a tag that spells the label."""
LEAST_OVERLAP = 0.95
LEAST_ROWS = 10
"""Minimum overlap (Jaccard) and number of images of a tag that marks a label's images."""


def tags_that_name_labels(tags: Tags, label_codes_N: Codes, label_values: pa.Array) -> list[str]:
    """Returns the tags that name a label, those on most images first.

    A tag names a label if both have the same spelling, or if it occurs on the label's images and on (nearly)
    no others, whatever its spelling.
    """
    rows_P, tag_codes_P, tag_values = _pairs(tags)
    assert rows_P.size == 0 or rows_P[-1] < label_codes_N.size, "one list of tags for each row"
    table = Contingency.of_codes(tag_codes_P, label_codes_N[rows_P])
    if table.rows == 0:
        return []
    label_sizes_L = np.bincount(label_codes_N[label_codes_N >= 0])
    together_C = table.counts_C
    of_label_C, of_tag_C = label_sizes_L[table.labels_C], table.cluster_sizes_K[table.clusters_C]
    either_C = of_label_C + of_tag_C - together_C
    marks_C = (together_C >= LEAST_OVERLAP * either_C) & (together_C >= LEAST_ROWS)
    # As codes: an array of texts would give each one the room of the longest.
    code_of: dict[str, int] = {}
    spelled_label_L, spelled_tag_K = (
        np.array(
            [code_of.setdefault(_spelling(value), len(code_of)) for value in values.to_pylist()], np.int64
        )
        for values in (label_values, tag_values)
    )
    spells_C = spelled_tag_K[table.clusters_C] == spelled_label_L[table.labels_C]
    spells_C &= together_C >= LEAST_SHARE_OF_LABEL * of_label_C
    naming = np.unique(table.clusters_C[marks_C | spells_C])
    most_frequent_first = naming[np.argsort(-table.cluster_sizes_K[naming], kind="stable")]
    return [str(tag_values[int(tag)]) for tag in most_frequent_first]


def _pairs(tags: Tags) -> tuple[Codes, Codes, pa.Array]:
    """Returns (row, tag) for every distinct tag of every row, and the value of each tag code."""
    lists = tags if isinstance(tags, pa.Array | pa.ChunkedArray) else pa.array(tags, pa.list_(pa.string()))
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.combine_chunks()
    rows_P = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    codes_P, values = encoded(pc.list_flatten(lists))
    known_P = codes_P != UNKNOWN
    once = np.unique(rows_P[known_P] * max(len(values), 1) + codes_P[known_P])
    rows, codes = np.divmod(once, max(len(values), 1))
    return rows, codes, values


def _spelling(value: Any) -> str:
    """Returns a normalized spelling: the same for T-Shirts, #t_shirts and tshirts."""
    return re.sub(r"[\W_]+", "", normalized("NFKC", str(value)).casefold())
