"""Columns of cluster numbers in which -1 stands for noise, as DBSCAN and HDBSCAN write them."""

import re
from collections.abc import Iterable, Mapping

from pipeline.dataset.unknown_words import COLUMNS_SHOWN
from pipeline.runtime.errors import listed

NOISE = "-1"
FEWEST_CLUSTERS = 3
"""Besides -1; attributes have -1, 0 and 1, too."""
_NUMBER = re.compile(r"0|[1-9][0-9]*")


def noise_notes(columns: Iterable[tuple[str, Mapping[str, int]]]) -> list[str]:
    """Returns a note on the columns whose values are -1 and numbers from 0 on: a name, and the rows of each
    value. -1 stays a value, as it may mean something else."""
    found = [f"{name} ({rows[NOISE]:,} rows)" for name, rows in columns if _has_noise(rows)]
    if not found:
        return []
    return [
        f"-1 counts as one cluster like any other, in {listed(found, COLUMNS_SHOWN)}: leave such cells empty "
        "if it stands for noise, as DBSCAN and HDBSCAN write it"
    ]


def _has_noise(rows: Mapping[str, int]) -> bool:
    if NOISE not in rows or "0" not in rows:
        return False
    others = [value for value in rows if value != NOISE]
    return len(others) >= FEWEST_CLUSTERS and all(map(_NUMBER.fullmatch, others))
