"""Scatter plots of the comparison: accuracy against statistics of the clusters."""

from collections.abc import Sequence

from pipeline.experiments.experiment import Experiment
from pipeline.experiments.rank_correlation import LEAST_POINTS, RankCorrelation, rank_correlation
from pipeline.presentation.formatting import number
from pipeline.presentation.label_placement import spread
from pipeline.presentation.plotting import Axes
from pipeline.presentation.themed_svg import COLOURS, drawing, inline_svg
from pipeline.report.figures import AXIS_TITLES, LINES, Figure, Statistic
from pipeline.storage.schema import CHOSEN

SEEDS_NOTE = (
    "Experiments on the same clusters, such as seeds, count one by one, so the interval is narrower than the "
    "evidence."
)
NUMBER_GAP = 0.05
"""Minimum distance between two numbers beside points, as a share of the axes' height."""
COLUMN_WIDTH = 0.06
"""Horizontal distance below which the numbers of points share a column, as a share of the width."""


def scatter(statistic: Statistic, experiments: Sequence[Experiment], group: int) -> Figure | None:
    placed = [
        (place, x, 100 * y)
        for place, e in enumerate(experiments, 1)
        if (x := e.figures[statistic]) is not None and (y := e.top1) is not None
    ]
    if len(placed) < 2:
        return None
    _, xs, ys = zip(*placed, strict=True)
    with drawing() as (figure, axes):
        _reference_lines(axes, experiments)
        axes.plot(xs, ys, "o", color=COLOURS["chosen"], markersize=7)
        axes.set_xlabel(AXIS_TITLES[statistic])
        axes.set_ylabel("linear top-1 in %")
        axes.margins(0.12)
        _number_points(axes, placed)
        correlation = correlation_sentence(rank_correlation(xs, ys))
        if len(xs) >= LEAST_POINTS and len({experiments[place - 1].clusters for place, *_ in placed}) < len(
            xs
        ):
            correlation += f" {SEEDS_NOTE}"
        differences = "; ".join(
            f"{experiments[n - 1].name}: {number(x)} bits, {number(y, 1)} %" for n, x, y in placed
        )
        name = f"{statistic.removesuffix('_bits').replace('_', '-')}-{group}"
        title = f"Linear top-1 against {AXIS_TITLES[statistic].removesuffix(' in bits')}"
        svg = inline_svg(figure, name, title, f"{correlation} {differences}")
        return Figure(svg, title, f"Numbers as in the table. {correlation}")


def _number_points(axes: Axes, placed: Sequence[tuple[int, float, float]]) -> None:
    """Writes each point's place in the table to its right; numbers of close points do not overlap."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    columns: list[list[tuple[int, float, float]]] = []
    for point in sorted(placed, key=lambda point: point[1]):
        if columns and point[1] - columns[-1][0][1] < COLUMN_WIDTH * (right - left):
            columns[-1].append(point)
        else:
            columns.append([point])
    for column in columns:
        # At equal heights, the better place is written above.
        column.sort(reverse=True)
        heights = spread([y for _, _, y in column], NUMBER_GAP * (high - low))
        for (place, x, _), height in zip(column, heights, strict=True):
            axes.annotate(
                str(place), (x, height), xytext=(7, 0), textcoords="offset points", va="center", fontsize=9,
            )  # fmt: skip


def _reference_lines(axes: Axes, experiments: Sequence[Experiment]) -> None:
    """Draws the references that all experiments share."""
    for arm, line in LINES.items():
        if arm == CHOSEN:
            continue
        reached = {experiment.references[arm] for experiment in experiments}
        if len(reached) == 1 and (top1 := next(iter(reached))) is not None:
            axes.axhline(100 * top1, color=COLOURS[arm], linestyle=line, linewidth=1.4)
            axes.annotate(
                arm, (1, 100 * top1), xycoords=("axes fraction", "data"), xytext=(4, 0),
                textcoords="offset points", va="center", color=COLOURS[arm], annotation_clip=False,
            )  # fmt: skip


def correlation_sentence(correlation: RankCorrelation | None) -> str:
    if correlation is None:
        return f"No rank correlation: that needs {LEAST_POINTS} experiments that differ in both figures."
    rho = f"Spearman's rank correlation {number(correlation.rho)} over {correlation.points} experiments"
    if correlation.low is None or correlation.high is None:
        return f"{rho}."
    return f"{rho} (95 % interval {number(correlation.low)} to {number(correlation.high)})."
