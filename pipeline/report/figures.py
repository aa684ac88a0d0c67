"""The charts of the report. Each arm has the same colour, marker and line style in all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from markupsafe import Markup

from pipeline.presentation.formatting import number, percent
from pipeline.presentation.label_placement import name_line_ends, name_points, room_around
from pipeline.presentation.plotting import Axes, MaxNLocator
from pipeline.presentation.themed_svg import COLOURS, drawing, inline_svg
from pipeline.report.arms import Arm

MARKS = {"chosen": "o", "untrained": "D", "start": "P", "instance": "^", "label": "s"}
LINES = {"chosen": "-", "untrained": "-.", "start": (0, (5, 1)), "instance": "--", "label": ":"}

Statistic = Literal["mutual_information_bits", "conditional_entropy_bits"]
AXIS_TITLES: dict[Statistic, str] = {
    "mutual_information_bits": "I(Z;T) in bits",
    "conditional_entropy_bits": "H(Z|T) in bits",
}


@dataclass(frozen=True)
class Figure:
    svg: Markup
    title: str
    caption: str


def arm_title(arm: Arm) -> str:
    return {"instance": "self-supervision", "label": "labels"}.get(arm.name, arm.method)


def accuracy_against(statistic: Statistic, arms: Sequence[Arm]) -> Figure | None:
    """Plots linear top-1 against a statistic of the clusters, one point per arm; None for fewer than two."""
    placed = [
        (arm, x, y)
        for arm in arms
        if (x := getattr(arm, statistic)) is not None and (y := arm.top1) is not None
    ]
    if len(placed) < 2:
        return None
    with drawing() as (figure, axes):
        for arm, x, y in placed:
            low, high = arm.metrics["top1_low"], arm.metrics["top1_high"]
            if low is not None and high is not None:
                axes.plot([x, x], [100 * low, 100 * high], color=COLOURS[arm.name], linewidth=1.6)
            axes.plot([x], [100 * y], MARKS[arm.name], color=COLOURS[arm.name], markersize=8)
        draw_floors(axes, {arm.name: arm.top1 for arm in arms if not arm.trained and arm.top1 is not None})
        axes.set_xlabel(AXIS_TITLES[statistic])
        axes.set_ylabel("linear top-1 in %")
        room_around([x for _, x, _ in placed], axes)
        name_points(axes, [(arm_title(arm), COLOURS[arm.name], x, 100 * y) for arm, x, y in placed])
        alt_text = "; ".join(f"{arm_title(arm)}: {number(x)} bits, {percent(y)}" for arm, x, y in placed)
        name = statistic.removesuffix("_bits").replace("_", "-")
        title = f"Linear top-1 against {AXIS_TITLES[statistic].removesuffix(' in bits')}"
        return Figure(inline_svg(figure, name, title, alt_text), title, _ACCURACY_CAPTIONS[statistic])


def draw_floors(axes: Axes, top1_of: Mapping[str, float]) -> None:
    """Draws a line at the accuracy of each arm that is not trained, and so has no clusters."""
    for name, top1 in top1_of.items():
        axes.axhline(100 * top1, color=COLOURS[name], linestyle=LINES[name], linewidth=1.4)
        axes.annotate(
            name, (0, 100 * top1), xycoords=("axes fraction", "data"), xytext=(4, 3),
            textcoords="offset points", color=COLOURS[name], annotation_clip=False,
        )  # fmt: skip


_ACCURACY_CAPTIONS: dict[Statistic, str] = {
    "mutual_information_bits": "I(Z;T): information of the clusters about the label. "
    "More is better. Bars: 95 % interval over the test images.",
    "conditional_entropy_bits": "H(Z|T): entropy of the clusters beyond the labels. "
    "At equal I(Z;T), less is better. Bars: 95 % interval over the test images.",
}


def training_curves(arms: Sequence[Arm]) -> list[Figure]:
    """Plots the loss and, where the training measured them, the representation metrics after each epoch."""
    return [chart for curve in _CURVES if (chart := _over_epochs(curve, arms)) is not None]


@dataclass(frozen=True)
class _Curve:
    column: str
    """Column of `history.csv`."""
    title: str
    axis: str
    caption: str


_CURVES = [
    _Curve(
        "loss",
        "Training loss",
        "mean loss per epoch",
        "Each line should fall and level off. Levels are not comparable between arms: "
        "the more images share a cluster, the higher the lower bound of the loss.",
    ),
    _Curve(
        "rankme",
        "Effective rank of the embeddings",
        "RankMe, directions",
        "The number of directions that the embeddings use (Garrido et al., 2023). A fall towards 1 is a "
        "collapse: all embeddings are alike.",
    ),
    _Curve(
        "alignment",
        "Alignment",
        "mean squared distance",
        "Distance of two views of an image on the unit sphere (Wang and Isola, 2020). Less is better "
        "if uniformity falls too.",
    ),
    _Curve(
        "uniformity",
        "Uniformity",
        "log of the mean potential",
        "How evenly the embeddings cover the unit sphere (Wang and Isola, 2020). Lower is more even; "
        "0 is a collapse.",
    ),
]


def _over_epochs(curve: _Curve, arms: Sequence[Arm]) -> Figure | None:
    """Plots one line per arm; returns None if no arm has the metric."""
    drawn = [(arm, _known(arm.history, curve.column)) for arm in arms]
    drawn = [(arm, known) for arm, known in drawn if not known.empty]
    if not drawn:
        return None
    with drawing() as (figure, axes):
        ends, alt_text = [], []
        for arm, known in drawn:
            epochs, values = known["epoch"].to_list(), known[curve.column].to_list()
            axes.plot(epochs, values, LINES[arm.name], color=COLOURS[arm.name])
            axes.plot(epochs[-1:], values[-1:], MARKS[arm.name], color=COLOURS[arm.name], markersize=6)
            ends.append((arm_title(arm), COLOURS[arm.name], epochs[-1], values[-1]))
            alt_text.append(f"{arm_title(arm)}: {number(values[0])} to {number(values[-1])}")
        _epochs(axes)
        axes.set_ylabel(curve.axis)
        name_line_ends(axes, ends)
        svg = inline_svg(figure, curve.column, curve.title, "; ".join(alt_text))
        return Figure(svg, curve.title, curve.caption)


def _known(history: pd.DataFrame, column: str) -> pd.DataFrame:
    return history[history[column].notna()] if column in history else history.iloc[:0]


def trajectory(arm: Arm) -> list[Figure]:
    """Plots how an arm's clusters change over its re-clusterings."""
    table = arm.trajectory
    if table is None or len(table) < 2:
        return []
    method = arm_title(arm)
    title = f"Images that changed cluster ({method})"
    caption = (
        "Share of the images at each re-clustering, up to renumbering. It falls as the clusters converge."
    )
    moved = {"moved_share": "moved"}
    charts = [_lines_over_epochs(f"moved-{arm.name}", title, table, moved, "images in %", caption, 100)]
    bits = {"mutual_information_bits": "I(Z;T)", "conditional_entropy_bits": "H(Z|T)"}
    if all(key in table and table[key].notna().any() for key in bits):
        caption = "Measured after each re-clustering. Good clusters gain I(Z;T) faster than H(Z|T)."
        title = f"Information in the clusters ({method})"
        charts.append(_lines_over_epochs(f"bits-{arm.name}", title, table, bits, "bits", caption))
    return charts


def _lines_over_epochs(
    name: str,
    title: str,
    table: pd.DataFrame,
    columns: dict[str, str],
    unit: str,
    caption: str,
    factor: float = 1,
) -> Figure:
    """Plots one line per column of `table`, with its name at its end."""
    with drawing() as (figure, axes):
        ends = []
        for colour, line, (column, label) in zip(
            ["chosen", "accent"], ["-", "--"], columns.items(), strict=False
        ):
            known = table[table[column].notna()]
            epochs, values = known["epoch"].to_list(), (factor * known[column]).to_list()
            axes.plot(epochs, values, line, color=COLOURS[colour], marker="o", markersize=4)
            ends.append((label, COLOURS[colour], epochs[-1], values[-1]))
        _epochs(axes)
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0)
        name_line_ends(axes, ends)
        alt_text = "; ".join(f"{label} ends at {number(value)} {unit}" for label, _, _, value in ends)
        return Figure(inline_svg(figure, name, title, alt_text), title, caption)


def _epochs(axes: Axes) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(visible=False, axis="x")
