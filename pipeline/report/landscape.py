"""The landscape of available clusterings: a chart that names the best, and a table of all."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.presentation.formatting import (
    ADJUSTED_MUTUAL_INFORMATION,
    CONDITIONAL_ENTROPY,
    MUTUAL_INFORMATION,
    count,
    number,
    plural,
)
from pipeline.presentation.label_placement import name_points, room_around
from pipeline.presentation.plotting import Axes
from pipeline.presentation.tables import Cell, Column, Table
from pipeline.presentation.themed_svg import COLOURS, HEIGHT, drawing, inline_svg
from pipeline.report.arms import Arm
from pipeline.report.figures import MARKS, Figure
from pipeline.statistics.findings import EQUAL_AGREEMENT

I_BITS, H_BITS, AGREEMENT = (
    "mutual_information_bits",
    "conditional_entropy_bits",
    "adjusted_mutual_information",
)
NAMED, NAMED_OF_MANY = 12, 6
"""Maximum number of names in the chart, and the number of named points on the frontier if there are more."""
LONGEST_NAME = 28


def choices(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of `landscape.csv` to show, with the column `frontier`; empty without labels.

    Clusters of one image each, such as those of a column of article numbers, equal `instance` and are left
    out.
    """
    if "singletons" in table:
        table = table[_is_reference(table) | (table["singletons"] < table["rows"])]
    if table.empty or table[[H_BITS, I_BITS]].isna().any(axis=None):
        return table.iloc[:0].assign(frontier=[])
    return table.assign(frontier=on_frontier(table)).reset_index(drop=True)


def _is_reference(table: pd.DataFrame) -> "pd.Series[bool]":
    return table["method"].isin(["label", "instance"])


def on_frontier(table: pd.DataFrame) -> "pd.Series[bool]":
    """Returns whether each row is on the Pareto frontier: no other has as much I(Z;T) at no more H(Z|T).

    Ignores the labels, clusters that equal them, and instances, which are all references.
    """
    is_choice = ~_is_reference(table)
    if AGREEMENT in table:
        is_choice &= ~(table[AGREEMENT] >= EQUAL_AGREEMENT)
    ordered = table[is_choice].sort_values([H_BITS, I_BITS], ascending=[True, False], kind="stable")
    best_before = ordered[I_BITS].cummax().shift(fill_value=0.0)
    return pd.Series(table.index.isin(ordered.index[ordered[I_BITS] > best_before + 1e-9]), table.index)


def chart(rows: pd.DataFrame, chosen: Arm) -> Figure | None:
    """Plots the clusterings by H(Z|T) and I(Z;T), with tooltips; names the chosen one and a few others."""
    if rows.empty:
        return None
    with drawing(height=HEIGHT * 1.2) as (figure, axes):
        tooltips = _draw_points(axes, rows, chosen.method)
        frontier = rows[rows["frontier"]].sort_values(H_BITS)
        axes.plot(frontier[H_BITS], frontier[I_BITS], "--", color=COLOURS["accent"], linewidth=1)
        named = _rows_to_name(rows)
        labels = [
            (_shortened(name), COLOURS["muted"], x, y)
            for name, x, y in zip(named["name"], named[H_BITS], named[I_BITS], strict=True)
        ]
        if chosen.mutual_information_bits is not None and chosen.conditional_entropy_bits is not None:
            at = chosen.conditional_entropy_bits, chosen.mutual_information_bits
            axes.plot(*at, MARKS["chosen"], color=COLOURS["chosen"], markersize=9)
            labels.append((f"{chosen.method} (chosen)", COLOURS["chosen"], *at))
        axes.set_xlabel("H(Z|T) in bits")
        axes.set_ylabel("I(Z;T) in bits")
        room_around(rows[H_BITS].to_list(), axes)
        name_points(axes, labels)
        title = "The landscape: all available clusterings"
        described = f"{len(rows)} clusterings of {rows['method'].nunique()} methods"
        svg = inline_svg(figure, "landscape", title, described, tooltips)
        return Figure(svg, title, _caption(rows))


def _draw_points(axes: Axes, rows: pd.DataFrame, chosen_method: str) -> dict[str, list[str]]:
    """Draws the points; returns the tooltips of each group in the order of its points."""
    for method, path in rows[rows["nested"].astype(bool)].groupby("method", sort=False):
        colour = COLOURS["chosen" if method == chosen_method else "muted"]
        axes.plot(path[H_BITS], path[I_BITS], "-", color=colour, linewidth=1)
    tooltips = {}
    is_chosen = rows["method"] == chosen_method
    for group, colour, points in (
        ("others", "muted", rows[~is_chosen]),
        ("of-the-method", "chosen", rows[is_chosen]),
    ):
        axes.plot(points[H_BITS], points[I_BITS], "o", color=COLOURS[colour], markersize=4, gid=group)
        tooltips[group] = [_tooltip(row) for row in points.to_dict("records")]
    return tooltips


def _caption(rows: pd.DataFrame) -> str:
    caption = (
        "Up: more information about the label. Right: more entropy beyond it. Dashed: the Pareto frontier, "
        "without the labels. Point at a marker for its name."
    )
    if rows["nested"].any():
        caption += " Along a line, each point adds one attribute, hashtag or level."
    return caption


def table(rows: pd.DataFrame, chosen_method: str) -> Table | None:
    """Lists all of `rows`: the frontier first, then by agreement with the labels."""
    title = f"All {plural(len(rows), 'clustering')} that could be chosen"
    note = "Bold: on the dashed line of the chart. All statistics: data/clusters/chosen/landscape.csv."
    return _table(rows, chosen_method, title, note)


def frontier_table(rows: pd.DataFrame, chosen_method: str) -> Table | None:
    title = f"The best of {plural(len(rows), 'clustering')} that could be chosen"
    note = (
        "Without the labels, no other has as much I(Z;T) at as little H(Z|T). All of them: "
        "data/clusters/chosen/landscape.csv."
    )
    return _table(rows[rows["frontier"].astype(bool)], chosen_method, title, note)


def _table(rows: pd.DataFrame, chosen_method: str, title: str, note: str) -> Table | None:
    if rows.empty:
        return None
    columns = [
        Column("Clustering"),
        Column("Clusters", True),
        Column("I(Z;T)", True, MUTUAL_INFORMATION),
        Column("H(Z|T)", True, CONDITIONAL_ENTROPY),
        Column("AMI", True, ADJUSTED_MUTUAL_INFORMATION),
    ]
    by = ["frontier", AGREEMENT if AGREEMENT in rows else I_BITS]
    ordered = rows.sort_values(by, ascending=False, kind="stable")
    cells = [_cells(row, chosen_method) for row in ordered.to_dict("records")]
    return Table(title, columns, cells, sortable=True, kinds="tall", note=note)


def _cells(row: Mapping[Any, Any], chosen_method: str) -> list[Cell]:
    colour = "chosen" if row["method"] == chosen_method else ""
    statistics = [("clusters", count), (I_BITS, number), (H_BITS, number), (AGREEMENT, number)]
    return [
        Cell(row["name"], strong=bool(row["frontier"]), colour=colour),
        *(Cell(shown(row.get(key)), row.get(key)) for key, shown in statistics),
    ]


def _rows_to_name(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows to name in the chart.

    For few clusterings, these are the references, the frontier, those on no line and the end of each line.
    For many, they are the references and some of the frontier.
    """
    frontier, nested = rows["frontier"].astype(bool), rows["nested"].astype(bool)
    few = rows[frontier | ~nested | ~rows.duplicated(["method", "nested"], keep="last")]
    if len(few) <= NAMED:
        return few
    some = _spaced(rows[frontier].sort_values(H_BITS), NAMED_OF_MANY)
    return pd.concat([some, rows[_is_reference(rows)]])


def _spaced(frontier: pd.DataFrame, most: int) -> pd.DataFrame:
    """Returns at most `most` rows, evenly spaced in I(Z;T) so that names do not overlap; keeps both ends."""
    if len(frontier) <= most:
        return frontier
    information = frontier[I_BITS].to_numpy()
    requested = np.linspace(information[0], information[-1], most)
    nearest = np.abs(information - requested[:, None]).argmin(axis=1)
    return frontier.iloc[np.unique(nearest)]


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"


def _tooltip(row: Mapping[Any, Any]) -> str:
    bits: Sequence[str] = [f"I(Z;T) {number(row[I_BITS])}", f"H(Z|T) {number(row[H_BITS])} bits"]
    return f"{row['name']}: {', '.join(bits)}"
