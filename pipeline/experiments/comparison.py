"""Contents of the comparison: a sentence, tables and scatter plots per set of images; what is left out."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.evaluation.wording import baselines_in_words
from pipeline.experiments.experiment import (
    Budget,
    Comparison,
    Experiment,
    Group,
    Value,
    differences,
    of_ingest,
)
from pipeline.experiments.outlook import Workspace, outlook
from pipeline.experiments.scatter import scatter
from pipeline.presentation.formatting import (
    CONDITIONAL_ENTROPY,
    MINUS,
    MUTUAL_INFORMATION,
    NOTHING,
    TIMES,
    count,
    interval_text,
    number,
    percent,
    plural,
    points,
    sentence,
)
from pipeline.presentation.tables import Cell, Column, Table
from pipeline.report.figures import AXIS_TITLES, Figure
from pipeline.runtime.errors import listed

BUDGET_NOTE = (
    "A budget is epochs times train images of the chosen arm. What an objective costs beside, such as "
    "queues, target networks and k-means, is not counted, and neither is the size of the encoder. The best "
    "of several may be best by chance."
)

GAP_HINT = (
    "(chosen - instance) / (label - instance) in top-1, and its 95 % interval; no figure where the report "
    "states none, such as where the two references lie too close"
)


@dataclass(frozen=True)
class GroupContents:
    """Experiments on the same images."""

    images: str
    summary: str
    table: Table
    budgets: Table | None
    outlook: Table | None
    pictures: list[Figure]


@dataclass(frozen=True)
class ComparisonContents:
    title: str
    summary: str
    """Empty if there is exactly one group of experiments, which has its own summary."""
    groups: list[GroupContents]
    left_out: list[str]


def gather(comparison: Comparison, workspace: Workspace | None = None) -> ComparisonContents:
    """`workspace`: its advice says what else could be trained."""
    return ComparisonContents(
        title="Experiments compared",
        summary=_summary_of_groups(comparison),
        groups=[_group(number, group, workspace) for number, group in enumerate(comparison.groups)],
        left_out=left_out(comparison),
    )


def _summary_of_groups(comparison: Comparison) -> str:
    if not comparison.groups:
        return summary([])
    if len(comparison.groups) == 1:
        return ""
    return (
        f"The {plural(len(comparison.experiments), 'experiment')} are on {len(comparison.groups)} sets of "
        "images, and only those on the same images are compared."
    )


def _group(number: int, group: Group, workspace: Workspace | None) -> GroupContents:
    pictures = [scatter(statistic, group.experiments, number) for statistic in AXIS_TITLES]
    return GroupContents(
        images=group.images,
        summary=summary(group.experiments) + _contents_note(group),
        table=experiments_table(group),
        budgets=budgets_table(group),
        outlook=outlook(group, workspace) if workspace is not None else None,
        pictures=[picture for picture in pictures if picture is not None],
    )


def _contents_note(group: Group) -> str:
    contents = {e.images_hash for e in group.experiments}
    if len(contents) == 1:
        return ""
    return (
        f" They were made from {len(contents)} contents of data/images, which differ with "
        f"{listed(of_ingest(group.experiments))}: where these change the split or the pixels, the test "
        "images are not the same."
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
        return f"{reached}; there is nothing to compare it with. `dvc exp list -A` names all experiments."
    second, second_top1 = measured[1]
    ahead = f"{points(top1 - second_top1, signed=False)} points above {second.name} ({second.method})"
    lead = ahead if top1 > second_top1 else f"as does {second.name} ({second.method})"
    return (
        f"Of {plural(len(measured), 'experiment')}, {best.name} ({best.method}) reaches the highest "
        f"linear top-1, {percent(top1)}, {lead}; differences within a report's 95 % intervals may be chance."
    )


def experiments_table(group: Group) -> Table:
    keys = group.differing()
    has_gap = any(e.gap_closed_interval is not None for e in group.experiments)
    gap = [Column("Gap closed", True, GAP_HINT)] if has_gap else []
    has_interval = any(e.figures["top1_low"] is not None for e in group.experiments)
    interval = [Column("95 % interval", hint="Wilson's, over the test images")] * has_interval
    columns = [
        Column("#", True),
        Column("Experiment", hint="below it the clusters' method and the parameters that differ"),
        Column("Linear top-1", True, "share of test images named rightly"),
        *interval,
        Column("k-NN", True, "label by vote of the nearest train images"),
        *gap,
        Column("Clusters", True),
        Column("I(Z;T)", True, MUTUAL_INFORMATION),
        Column("H(Z|T)", True, CONDITIONAL_ENTROPY),
    ]
    rows = []
    for place, e in enumerate(group.experiments, 1):
        shown = {key: value for key, value in differences(e, keys).items() if key != "cluster.method"}
        details = [e.method, *(f"{key}={_plain(value)}" for key, value in shown.items())]
        figures = e.figures
        rows.append(
            [
                Cell(str(place), place),
                Cell(e.name, strong=place == 1 and e.top1 is not None, detail=", ".join(details)),
                _cell(e.top1, percent(e.top1)),
                *([Cell(interval_text(figures["top1_low"], figures["top1_high"]))] if has_interval else []),
                _cell(figures["knn_top1"], percent(figures["knn_top1"])),
                *([_gap_cell(e)] if has_gap else []),
                _cell(figures["clusters"], count(figures["clusters"])),
                _cell(figures["mutual_information_bits"], number(figures["mutual_information_bits"])),
                _cell(figures["conditional_entropy_bits"], number(figures["conditional_entropy_bits"])),
            ]
        )
    return Table("Experiments, best top-1 first", columns, rows, sortable=True, note=_note(group))


def _note(group: Group) -> str:
    """States the accuracy of guessing on these labels, and the budget if it is the same for all."""
    given = dict.fromkeys(baselines_in_words(e.baselines) for e in group.experiments if e.baselines)
    return " ".join(filter(None, [*map(sentence, given), _same_budget(group)]))


def _same_budget(group: Group) -> str:
    """States the budget if it is the same for all experiments, instead of the table of budgets."""
    budgets = {experiment.budget for experiment in group.experiments}
    (budget,) = budgets if len(budgets) == 1 else [None]
    return f"Trained for {_budget(budget)}." if budget is not None else ""


def budgets_table(group: Group) -> Table | None:
    """Lists the best experiment of each training budget; None for fewer than two budgets."""
    by_budget = group.by_budget()
    if len(by_budget) < 2:
        return None
    columns = [
        Column("Best"),
        Column("Budget"),
        Column("Images seen", True),
        Column("Experiments", True),
        Column("Linear top-1", True),
        Column("I(Z;T)", True),
        Column("H(Z|T)", True),
    ]
    rows = []
    for budget, experiments in by_budget.items():
        best = experiments[0]
        seen = budget.size[0]
        bits = [best.figures[name] for name in ("mutual_information_bits", "conditional_entropy_bits")]
        rows.append(
            [
                Cell(best.name, detail=best.method),
                Cell(_budget(budget), seen),
                Cell(count(seen) if seen else NOTHING, seen),
                Cell(count(len(experiments)), len(experiments)),
                _cell(best.top1, percent(best.top1)),
                *(_cell(value, number(value)) for value in bits),
            ]
        )
    return Table("Best of each budget", columns, rows, note=BUDGET_NOTE)


def _budget(budget: Budget) -> str:
    epochs = plural(int(budget.epochs), "epoch")
    if budget.train_images is None:
        return f"{epochs}, images not recorded"
    return f"{epochs} {TIMES} {plural(int(budget.train_images), 'image')}"


def left_out(comparison: Comparison) -> list[str]:
    """States what the table does not show, and why."""
    sentences = []
    if comparison.failed:
        sentences.append(
            f"{plural(len(comparison.failed), 'experiment')} failed, and DVC shows others' figures for them."
        )
        sentences += [
            f"{name}: {reason or f'`uv run dvc queue logs {name}` shows why'}"
            for name, reason in comparison.failed.items()
        ]
    if comparison.unfinished:
        sentences.append(f"{plural(comparison.unfinished, 'experiment')} queued or running.")
    if comparison.empty:
        sentences.append(f"{plural(comparison.empty, 'row')} without a report.")
    sentences += [
        f"{name}: its figures were made with other parameters than it has now; run the whole pipeline there."
        for name in comparison.stale
    ]
    return sentences


def _gap_cell(e: Experiment) -> Cell:
    if e.gap_closed is None or e.gap_closed_interval is None:
        return _cell(None, NOTHING)
    low, high = (f"{100 * end:.0f}" for end in e.gap_closed_interval)
    interval = f"{low} to {high}".replace("-", MINUS)
    return Cell(percent(e.gap_closed, 0), e.gap_closed, detail=interval)


def _cell(value: float | None, text: str) -> Cell:
    return Cell(text, -1.0 if value is None else value)


def _plain(value: Value) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else value
