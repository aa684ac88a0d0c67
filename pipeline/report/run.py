"""Stage 5: the outputs of all stages -> report as HTML and Markdown, and metrics for DVC."""

from pipeline.config.params import Params
from pipeline.presentation.html import render
from pipeline.presentation.terminal import print_table
from pipeline.report.arms import Arm, read_arms
from pipeline.report.contents import gather
from pipeline.report.markdown import report_markdown
from pipeline.report.verdict import gap_closed, standings, stated_share
from pipeline.runtime.console import terminal
from pipeline.storage.files import write_csv, write_json, write_text
from pipeline.storage.schema import Layout

POINTS_COLUMNS = [
    "arm",
    "method",
    "clusters",
    "mutual_information_bits",
    "conditional_entropy_bits",
    "top1",
    "top5",
    "knn_top1",
]


def build_report(params: Params, layout: Layout = Layout()) -> None:  # noqa: B008 - it is frozen
    """Writes `report.html`, `report.md`, `points.csv` and `metrics.json` below `layout.report`.

    Prints the table of arms, the verdict and the path of the report. The same inputs give the same bytes.
    Raises `UserError` if an earlier stage has not run.
    """
    arms = read_arms(layout, list(params.references))
    contents = gather(params, layout, arms)
    write_text(
        layout.report / "report.html", render("report.html", package="pipeline.report", contents=contents)
    )
    write_text(layout.report / "report.md", report_markdown(contents))
    write_csv(
        layout.report / "points.csv", POINTS_COLUMNS, [{"arm": arm.name} | arm.main_metrics() for arm in arms]
    )
    write_json(layout.report / "metrics.json", metrics(arms))

    console = terminal()
    print_table(contents.arms, console)
    console.echo("")
    console.print(contents.verdict, markup=False)
    console.echo("", f"Report: {layout.report / 'report.html'}")


def metrics(arms: list[Arm]) -> dict[str, object]:
    """Returns the content of `report/metrics.json`: arms, closed share of the gap, and baselines.

    `gap_closed` is the plain ratio; its interval is given only if the verdict states the share.
    """
    top1 = {arm.name: arm.top1 for arm in arms}
    closed = gap_closed(top1["chosen"], top1.get("instance"), top1.get("label"))
    stated = stated_share(standings(arms))
    of_arms = {arm.name: arm.main_metrics() | arm.further_metrics() for arm in arms}
    return of_arms | {
        "gap_closed": closed,
        "gap_closed_low": None if stated is None else stated.low,
        "gap_closed_high": None if stated is None else stated.high,
        "baselines": arms[0].metrics["baselines"],
    }
