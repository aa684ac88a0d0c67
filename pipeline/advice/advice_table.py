"""The table of what could be clustered by, for the terminal and the report."""

from collections.abc import Sequence

from pipeline.advice.formatting import share
from pipeline.presentation.formatting import count, number, points
from pipeline.presentation.tables import Cell, Column, Table
from pipeline.runtime.errors import shown
from pipeline.storage.schema import AdvisedClustering


def advice_table(
    ranked: Sequence[AdvisedClustering], caption: str, gap: float | None = None, left_out: int = 0
) -> Table:
    """`gap`: what labels add to self-supervision on these images, as a fraction, if it was measured."""
    columns = [
        Column("cluster by"),
        Column("gain", numeric=True, hint="expected share of what labels add to self-supervision"),
        Column("90 % interval", numeric=True),
        *([Column("in points", numeric=True, hint="of top-1 over self-supervision")] if gap else []),
        Column("I(Z;T)", numeric=True, hint="bits that the clusters reveal of the label"),
        Column("H(Z|T)", numeric=True, hint="bits by which they split labels"),
        Column("clusters", numeric=True),
    ]
    rows = []
    for one in ranked:
        gain = one["gain"]
        rows.append(
            [
                Cell(shown(one["name"]), strong=one["as_good_as_best"], detail=_detail(one)),
                Cell(share(gain["estimate"]), gain["estimate"]),
                Cell(f"{share(gain['low'])} to {share(gain['high'])}"),
                *([Cell(points(gain["estimate"] * gap), gain["estimate"])] if gap else []),
                Cell(number(one["mutual_information_bits"]), one["mutual_information_bits"]),
                Cell(number(one["conditional_entropy_bits"]), one["conditional_entropy_bits"]),
                Cell(count(one["clusters"]), one["clusters"]),
            ]
        )
    more = f" {left_out:,} more are not shown." if left_out else ""
    return Table(caption, columns, rows, note=f"Bold: as good as the best.{more}")


def _detail(one: AdvisedClustering) -> str:
    return "names the label" if one["names_the_label"] else ""
