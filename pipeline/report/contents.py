"""The contents of a report, collected once for both HTML and Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config.params import Params
from pipeline.dataset.dataset import ImageDataset
from pipeline.presentation.tables import Table
from pipeline.report import figures, landscape, sections, training_tables
from pipeline.report.advice import AdviceSection, advice_findings, advice_section
from pipeline.report.arm_names import chosen_phrase
from pipeline.report.arms import MAP, NEAREST, PREDICTIONS, Arm, read_table
from pipeline.report.cluster_cards import Card, cluster_cards, last_clusters
from pipeline.report.embedding_map import Maps, Query, maps, queries
from pipeline.report.figures import Figure
from pipeline.report.findings import Finding, findings
from pipeline.report.per_class import class_changes, worst_confusions
from pipeline.report.provenance import run_table
from pipeline.report.thumbnails import Thumbnails
from pipeline.report.verdict import standings, verdict
from pipeline.storage.schema import (
    CHOSEN,
    DUPLICATES_SCHEMA,
    LANDSCAPE_COLUMNS,
    REJECTS_SCHEMA,
    AdviceRecord,
    IngestSummary,
    Layout,
)
from pipeline.storage.validation import check_ids, check_parquet, check_rows, read_json, read_parquet


@dataclass(frozen=True)
class Contents:
    title: str
    verdict: str
    references: list[str]
    same_objective: bool
    """Whether the references were trained with the chosen arm's objective."""
    measured: bool
    """Whether there are labels, and therefore accuracies."""
    advice: AdviceSection | None
    arms: Table
    fewer_labels: Table | None
    against: list[Figure]
    """Accuracy against I(Z;T) and H(Z|T)."""
    landscape: Figure | None
    choices: Table | None
    """Every available clustering."""
    best_choices: Table | None
    maps: Maps | None
    queries: list[Query]
    test_queries: bool
    """Whether the queries are test images."""
    training: list[Figure]
    training_table: Table
    images: Table
    notes: list[str]
    """Decisions that the source made by default."""
    rejects: Table | None
    changes: list[Table]
    confusions: Table | None
    cards: list[Card]
    findings: list[Finding]
    provenance: list[Table]


def gather(params: Params, layout: Layout, arms: Sequence[Arm]) -> Contents:
    chosen = arms[0]
    instance = next((arm for arm in arms if arm.name == "instance"), None)
    dataset = ImageDataset(layout.images)
    summary = _checked_summary(dataset, layout)
    against = [figures.accuracy_against(statistic, arms) for statistic in figures.AXIS_TITLES]
    # The label arm is the ceiling of accuracy; its map would only repeat the label colours.
    mapped = [arm for arm in arms if arm.name != "label"]
    trained = [arm for arm in arms if arm.trained]
    train, clusters = Thumbnails(dataset.train), last_clusters(layout, CHOSEN)
    test = Thumbnails(dataset.test) if summary["images"].get("test") else None
    choices = landscape.choices(read_table(layout.landscape, LANDSCAPE_COLUMNS, needed=False, text=("name",)))
    advice = read_json(layout.advice, AdviceRecord)
    _check_ids(arms, train, test, layout)
    return Contents(
        title=params.report.title,
        verdict=verdict(standings(list(arms)), chosen_phrase(chosen.method, params.cluster, params.pretrain)),
        references=[arm.name for arm in arms[1:]],
        same_objective=params.pretrain == params.pretrain.of_references(),
        measured=chosen.top1 is not None,
        advice=advice_section(advice, arms),
        arms=sections.arms_table(arms, params.pretrain),
        fewer_labels=sections.fewer_labels_table(arms),
        against=[chart for chart in against if chart is not None],
        landscape=landscape.chart(choices, chosen),
        choices=landscape.table(choices, chosen.method),
        best_choices=landscape.frontier_table(choices, chosen.method),
        maps=maps(mapped, train, clusters),
        queries=queries(mapped, train, test),
        test_queries=test is not None,
        training=figures.training_curves(trained)
        + [chart for arm in trained for chart in figures.trajectory(arm)],
        training_table=training_tables.training_table(trained),
        images=sections.images_table(summary),
        notes=summary["notes"],
        rejects=sections.rejects_table(read_parquet(layout.rejects).to_pandas()),
        changes=sections.changes_tables(class_changes(chosen, instance), chosen.method),
        confusions=sections.confusions_table(worst_confusions(chosen.predictions), chosen.method),
        cards=cluster_cards(train, clusters, chosen.statistics.get("made_of", {})),
        findings=[*findings(list(arms), summary), *advice_findings(advice, params.pretrain)],
        provenance=[
            run_table(layout, arms),
            training_tables.configuration_table(arms, params),
            training_tables.parameters_table(params),
        ],
    )


def _checked_summary(dataset: ImageDataset, layout: Layout) -> IngestSummary:
    summary = dataset.summary
    rejected = check_parquet(layout.rejects, REJECTS_SCHEMA)
    check_rows(layout.rejects, rejected, summary["rejected"], layout.ingest_summary)
    check_parquet(layout.duplicates, DUPLICATES_SCHEMA)
    return summary


def _check_ids(arms: Sequence[Arm], train: Thumbnails, test: Thumbnails | None, layout: Layout) -> None:
    """Raises `UserError` if an arm has ids that are not among the images."""
    of_train = set(train.rows["id"])
    of_test = set(test.rows["id"]) if test is not None else of_train
    for arm in arms:
        folder = layout.evaluation(arm.name)
        check_ids(folder / MAP, arm.placed["id"], of_train, layout.images)
        check_ids(folder / NEAREST, arm.nearest["id"], of_train, layout.images)
        check_ids(folder / NEAREST, arm.nearest["query"], of_test, layout.images)
        check_ids(folder / PREDICTIONS, arm.predictions["id"], of_test, layout.images)
