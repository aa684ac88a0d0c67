"""Which clusterings are on the frontier, and what the picture and the table say of all."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.landscape import choices, frontier_table, on_frontier, table

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=20)


def rows(points: Sequence[tuple[float, float]], method: str = "column") -> pd.DataFrame:
    """Of (H(Z|T), I(Z;T)) each."""
    return pd.DataFrame(
        [
            {
                "method": method,
                "name": f"c{number}",
                "nested": False,
                "clusters": 3,
                "conditional_entropy_bits": float(conditional),
                "mutual_information_bits": float(mutual),
                "adjusted_mutual_information": 0.5,
            }
            for number, (conditional, mutual) in enumerate(points)
        ]
    )


@given(POINTS)
def test_the_frontier_equals_comparing_every_pair(points: list[tuple[int, int]]) -> None:
    def is_beaten(place: int) -> bool:
        conditional, mutual = points[place]
        return mutual == 0 or any(
            h <= conditional and i >= mutual and ((h, i) != (conditional, mutual) or other < place)
            for other, (h, i) in enumerate(points)
            if other != place
        )

    expected = [not is_beaten(place) for place in range(len(points))]
    assert on_frontier(rows(points)).to_list() == expected


def test_labels_and_what_equals_them_leave_the_frontier_to_others() -> None:
    found = rows([(0, 4), (0, 4), (3, 4), (1, 2)])
    found.loc[0, "method"] = "label"
    found.loc[1, "adjusted_mutual_information"] = 1.0
    found.loc[2, "method"] = "instance"
    assert on_frontier(found).to_list() == [False, False, False, True]


def test_the_table_has_all_and_the_frontier_first() -> None:
    found = choices(rows([(2, 1), (1, 2), (3, 3)]))
    everything, best = table(found, "column"), frontier_table(found, "column")
    assert everything is not None
    assert best is not None
    assert [row[0].text for row in everything.rows] == ["c1", "c2", "c0"]
    assert [row[0].text for row in best.rows] == ["c1", "c2"]
    assert [row[0].strong for row in everything.rows] == [True, True, False]
    assert "All 3 clusterings" in everything.caption


@pytest.mark.parametrize("found", [pd.DataFrame(), rows([(np.nan, np.nan)])])
def test_without_figures_there_is_nothing(found: pd.DataFrame) -> None:
    assert choices(found).empty
    assert table(choices(found), "column") is frontier_table(choices(found), "column") is None
