"""What could be clustered by: columns and joint values of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.statistics.contingency import UNKNOWN, Codes

JOINED_BY = " x "


@dataclass(frozen=True)
class Candidate:
    name: str
    codes_N: Codes
    """The cluster of each image, contiguous from 0; `UNKNOWN` for an image that is alone."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Of params.yaml, by which this clustering is trained on."""


def of_columns(columns: Mapping[str, Codes], names: Sequence[str]) -> Candidate:
    """Returns the candidate that joins the values of these columns, as `cluster.attributes.columns` does."""
    changes = {"cluster.method": "attributes", "cluster.attributes.columns": list(names)}
    return Candidate(JOINED_BY.join(names), joint_codes([columns[name] for name in names]), changes)


def joint_codes(columns: Sequence[Codes]) -> Codes:
    """Returns (N,) codes of equal combinations, contiguous from 0 in no particular order.

    Unknown is a value like others, but an image of which nothing is known is `UNKNOWN`.
    """
    joint_N, size = columns[0] - UNKNOWN, int(columns[0].max(initial=UNKNOWN)) - UNKNOWN + 1
    nothing_N = joint_N == 0
    for codes_N in columns[1:]:
        values = int(codes_N.max(initial=UNKNOWN)) - UNKNOWN + 1
        joint_N, size = _contiguous(joint_N * values + codes_N - UNKNOWN, size * values)
        nothing_N &= codes_N == UNKNOWN
    joint_N = np.where(nothing_N, -1, joint_N)
    return _contiguous(joint_N + 1, size + 1, first_is_unknown=bool(nothing_N.any()))[0]


def _contiguous(codes_N: Codes, size: int, first_is_unknown: bool = False) -> tuple[Codes, int]:
    """Returns the codes without gaps, and their number; 0 may become `UNKNOWN`, which is not counted."""
    if size <= max(1 << 16, 4 * codes_N.size):
        occurs_V = np.zeros(size, np.bool_)
        occurs_V[codes_N] = True
        place_V = np.cumsum(occurs_V) - 1
        contiguous_N, values = place_V[codes_N], int(place_V[-1]) + 1
    else:
        distinct, contiguous_N = np.unique(codes_N, return_inverse=True)
        values = len(distinct)
    if first_is_unknown:
        return contiguous_N - 1, values - 1
    return contiguous_N, values
