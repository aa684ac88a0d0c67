"""What the comparison shows: a sentence, a table, two scatters, and what was left out."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from pipeline.compare.experiments import Comparison, Experiment, Value, differences
from pipeline.compare.ranks import LEAST_POINTS, RankCorrelation, rank_correlation
from pipeline.report.figures import AXIS_TITLES, Picture, Statistic
from pipeline.report.svg import COLOURS, drawing, inline_svg
from pipeline.report.tables import Cell, Column, Table
from pipeline.report.wording import count, number, percent, plural, points


@dataclass(frozen=True)
class ComparisonContents:
    title: str
    summary: str
    table: Table
    pictures: list[Picture]
    left_out: list[str]


def gather(comparison: Comparison) -> ComparisonContents:
    return ComparisonContents(
        title="Experiments compared",
        summary=summary(comparison.experiments),
        table=experiments_table(comparison),
        pictures=[p for statistic in AXIS_TITLES if (p := _scatter(statistic, comparison.experiments))],
        left_out=left_out(comparison),
    )


def summary(experiments: Sequence[Experiment]) -> str:
    measured = [(e, e.top1) for e in experiments if e.top1 is not None]
    if not experiments:
        return "No experiment has succeeded yet: run some with `dvc exp run`."
    if not measured:
        return f"None of {plural(len(experiments), 'experiment')} has an accuracy, as there were no labels."
    best, top1 = measured[0]
    if len(measured) == 1:
        reached = f"{best.name} ({best.method}) reaches {percent(top1)} linear top-1"
        return f"{reached}; there is nothing to compare it with."
    second, second_top1 = measured[1]
    ahead = f"{points(top1 - second_top1, signed=False)} points above {second.name} ({second.method})"
    lead = ahead if top1 > second_top1 else f"as does {second.name} ({second.method})"
    return (
        f"Of {plural(len(measured), 'experiment')}, {best.name} ({best.method}) reaches the highest "
        f"linear top-1, {percent(top1)}, {lead}; differences within a report's 95 % intervals may be chance."
    )


def experiments_table(comparison: Comparison) -> Table:
    keys = comparison.differing()
    columns = [
        Column("#", True),
        Column("Experiment", hint="below it the clusters' method and the parameters that differ"),
        Column("Linear top-1", True, "share of test images named rightly"),
        Column("k-NN", True, "label by vote of the nearest train images"),
        Column("Gap closed", True, "(chosen - instance) / (label - instance) in top-1"),
        Column("Clusters", True),
        Column("I(Z;T)", True, "what a cluster tells of the label, in bits"),
        Column("H(Z|T)", True, "what clusters split beyond the labels, in bits"),
    ]
    rows = []
    for place, e in enumerate(comparison.experiments, 1):
        shown = {key: value for key, value in differences(e, keys).items() if key != "cluster.method"}
        details = [e.method, *(f"{key}={_plain(value)}" for key, value in shown.items())]
        figures = e.figures
        rows.append(
            [
                Cell(str(place), place),
                Cell(e.name, strong=place == 1 and e.top1 is not None, detail=", ".join(details)),
                _cell(e.top1, percent(e.top1)),
                _cell(figures["knn_top1"], percent(figures["knn_top1"])),
                _cell(e.gap_closed, percent(e.gap_closed, 0)),
                _cell(figures["clusters"], count(figures["clusters"])),
                _cell(figures["mutual_information_bits"], number(figures["mutual_information_bits"])),
                _cell(figures["conditional_entropy_bits"], number(figures["conditional_entropy_bits"])),
            ]
        )
    return Table("Experiments, best top-1 first", columns, rows, sortable=True)


def left_out(comparison: Comparison) -> list[str]:
    """What the table does not show, and why."""
    sentences = []
    if comparison.failed:
        sentences.append(f"{plural(comparison.failed, 'experiment')} failed.")
    if comparison.unfinished:
        sentences.append(f"{plural(comparison.unfinished, 'experiment')} queued or running.")
    if comparison.empty:
        sentences.append(f"{plural(comparison.empty, 'row')} without a report.")
    sentences += [
        f"{name}: its figures were made with other parameters than it has now; run the whole pipeline there."
        for name in comparison.stale
    ]
    return sentences


def correlation_sentence(correlation: RankCorrelation | None) -> str:
    if correlation is None:
        return f"No rank correlation: that needs {LEAST_POINTS} experiments that differ in both figures."
    rho = f"Spearman's rank correlation {number(correlation.rho)} over {correlation.points} experiments"
    if correlation.low is None or correlation.high is None:
        return f"{rho}."
    return f"{rho} (95 % interval {number(correlation.low)} to {number(correlation.high)})."


def _scatter(statistic: Statistic, experiments: Sequence[Experiment]) -> Picture | None:
    placed = [
        (place, x, 100 * y)
        for place, e in enumerate(experiments, 1)
        if (x := e.figures[statistic]) is not None and (y := e.top1) is not None
    ]
    if not placed:
        return None
    _, xs, ys = zip(*placed, strict=True)
    with drawing() as (figure, axes):
        _reference_lines(axes, experiments)
        axes.plot(xs, ys, "o", color=COLOURS["chosen"], markersize=7)
        for place, x, y in placed:
            # Below the points, so that no number hides a neighbour.
            axes.annotate(str(place), (x, y), xytext=(6, 5), textcoords="offset points", zorder=1.5)
        axes.set_xlabel(AXIS_TITLES[statistic])
        axes.set_ylabel("linear top-1 in %")
        axes.margins(0.12)
        correlation = correlation_sentence(rank_correlation(xs, ys))
        told = "; ".join(
            f"{experiments[n - 1].name}: {number(x)} bits, {number(y, 1)} %" for n, x, y in placed
        )
        name = statistic.removesuffix("_bits").replace("_", "-")
        title = f"Linear top-1 against {AXIS_TITLES[statistic].removesuffix(' in bits')}"
        svg = inline_svg(figure, name, title, f"{correlation} {told}")
        return Picture(svg, title, f"Numbers as in the table. {correlation}")


def _reference_lines(axes: Axes, experiments: Sequence[Experiment]) -> None:
    """Floor and ceiling, where all experiments share them."""
    for arm, line in (("instance", "--"), ("label", ":")):
        reached = {experiment.references[arm] for experiment in experiments}
        if len(reached) == 1 and (top1 := next(iter(reached))) is not None:
            axes.axhline(100 * top1, color=COLOURS[arm], linestyle=line, linewidth=1.4)
            axes.annotate(
                arm, (1, 100 * top1), xycoords=("axes fraction", "data"), xytext=(4, 0),
                textcoords="offset points", va="center", color=COLOURS[arm], annotation_clip=False,
            )  # fmt: skip


def _cell(value: float | None, text: str) -> Cell:
    return Cell(text, -1.0 if value is None else value)


def _plain(value: Value) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else value
