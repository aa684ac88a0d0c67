"""Tables of the report, as pure functions of the outputs of the stages."""

from collections.abc import Sequence

import pandas as pd

from pipeline.config.pretrain import PretrainParams
from pipeline.evaluation.wording import baselines_in_words, chosen_on, labels_in_words
from pipeline.objectives.traits import reads_clusters
from pipeline.presentation.formatting import (
    CONDITIONAL_ENTROPY,
    MUTUAL_INFORMATION,
    NOTHING,
    count,
    interval_text,
    number,
    percent,
    plural,
    points,
    sentence,
)
from pipeline.presentation.tables import Cell, Column, Table, spans
from pipeline.report.arm_names import ARM_ROLES
from pipeline.report.arms import Arm
from pipeline.report.cluster_cards import Card
from pipeline.report.per_class import SHOWN, ClassChange, Confusion
from pipeline.runtime.errors import listed
from pipeline.storage.schema import CHOSEN, IngestSummary

REJECTS_SHOWN = 5
"""Number of examples per reason."""
COLUMNS_SHOWN = 20


def arms_table(arms: Sequence[Arm], pretrain: PretrainParams) -> Table:
    """Lists the results of each arm; columns without any value are left out."""
    columns = [Column("Arm")]
    rows = [
        [Cell(arm.method, colour=arm.name, detail=ARM_ROLES[arm.name], strong=arm.name == CHOSEN)]
        for arm in arms
    ]
    notes = [*baseline_notes(arms), *selection_notes(arms), *recluster_notes(arms)]
    if not reads_clusters(pretrain.objective, pretrain.sampler):
        notes.append(
            f"{pretrain.objective} reads no clusters: those of the chosen arm are not used in its training."
        )
    accuracies, scale = _accuracy_columns(arms)
    for column, cells in [*accuracies, *_cluster_columns(arms)]:
        columns.append(column)
        for row, cell in zip(rows, cells, strict=True):
            row.append(cell)
    return Table("The arms", columns, rows, note=" ".join(notes), scale=scale)


def fewer_labels_table(arms: Sequence[Arm]) -> Table | None:
    """Lists linear top-1 with a share of the labels; None if `evaluate.label_fractions` is empty."""
    measured = [arm for arm in arms if arm.metrics["top1_at"]]
    if not measured:
        return None
    columns, rows = [Column("Arm")], [[Cell(arm.method, colour=arm.name)] for arm in measured]
    for fraction, first in measured[0].metrics["top1_at"].items():
        share, _, used = labels_in_words(fraction, first, measured[0].metrics["train_images"]).partition(": ")
        choice = chosen_on(measured[0].metrics["protocol"], first["selection_rows"])
        columns.append(Column(f"{share} of labels", True, f"{used}; {choice}"))
        for row, arm in zip(rows, measured, strict=True):
            found = arm.metrics["top1_at"][fraction]
            row.append(
                Cell(percent(found["top1"]), detail=interval_text(found["top1_low"], found["top1_high"]))
            )
    note = "The same protocol with that share of the train labels of each class, at least one, drawn once."
    return Table("Linear top-1 with fewer labels", columns, rows, note=note)


def _accuracy_columns(arms: Sequence[Arm]) -> tuple[list[tuple[Column, list[Cell]]], tuple[str, str] | None]:
    """Returns the columns, and the ends of the common scale of the intervals."""
    if all(arm.top1 is None for arm in arms):
        return [], None
    placed, (start, end) = spans([_interval(arm) for arm in arms])
    linear = Column("Linear top-1", True, "accuracy of a linear layer on the frozen features")
    interval = Column("95 % interval", False, "Wilson interval over the test images")
    top5 = Column("Top-5", True, "share of labels among the five best of the linear layer")
    top5_cells = [Cell(percent(arm.metrics["top5"])) for arm in arms]
    neighbours = Column("k-NN", True, "accuracy of a vote of the nearest train images")
    columns = [
        (linear, [Cell(percent(arm.top1), strong=True) for arm in arms]),
        (
            interval,
            [
                Cell(
                    interval_text(arm.metrics["top1_low"], arm.metrics["top1_high"]),
                    span=span,
                    colour=arm.name if span else "",
                )
                for arm, span in zip(arms, placed, strict=True)
            ],
        ),
        *([(top5, top5_cells)] if any(arm.metrics["top5"] is not None for arm in arms) else []),
        (neighbours, [Cell(percent(arm.metrics["knn_top1"])) for arm in arms]),
    ]
    return columns, (percent(start, 0), percent(end, 0))


def _cluster_columns(arms: Sequence[Arm]) -> list[tuple[Column, list[Cell]]]:
    number_of = Column("Clusters", True)
    columns = [(number_of, [Cell(count(arm.clusters)) for arm in arms])]
    if any(arm.mutual_information_bits is not None for arm in arms):
        mutual = Column("I(Z;T)", True, MUTUAL_INFORMATION)
        conditional = Column("H(Z|T)", True, CONDITIONAL_ENTROPY)
        columns.append((mutual, [_bits(arm, "mutual_information") for arm in arms]))
        columns.append((conditional, [_bits(arm, "conditional_entropy") for arm in arms]))
    else:
        entropy = Column("H(Z)", True, "entropy of the clusters in bits")
        largest = Column("Largest", True, "share of the train images in the largest cluster")
        columns.append((entropy, [Cell(number(arm.cluster_entropy_bits)) for arm in arms]))
        columns.append((largest, [Cell(percent(arm.largest_share)) for arm in arms]))
    return columns


def _bits(arm: Arm, statistic: str) -> Cell:
    """Shows the plug-in estimate, and below it the corrected estimate for the population, if any."""
    corrected = arm.statistics.get(f"{statistic}_corrected_bits") if arm.trajectory is None else None
    detail = f"{number(corrected)} corrected" if corrected is not None else ""
    return Cell(number(getattr(arm, f"{statistic}_bits")), detail=detail)


def baseline_notes(arms: Sequence[Arm]) -> list[str]:
    """States the accuracy of guessing, which depends only on the labels and is the same for all arms."""
    given = arms[0].metrics["baselines"]
    return [] if given is None else [sentence(baselines_in_words(given))]


def selection_notes(arms: Sequence[Arm]) -> list[str]:
    """States on which images the hyperparameter was chosen: the same for all arms, which share labels."""
    measured = [arm.metrics for arm in arms if arm.metrics["selection_rows"] is not None]
    choices = [chosen_on(metrics["protocol"], metrics["selection_rows"] or 0) for metrics in measured[:1]]
    return [sentence(f"the linear layers: {choice}") for choice in choices]


def recluster_notes(arms: Sequence[Arm]) -> list[str]:
    return [
        f"{arm.method} recomputes its clusters during training: their statistics are those after epoch "
        f"{arm.reclustered_after}, the last clusters that the encoder was trained on."
        for arm in arms
        if arm.reclustered_after is not None
    ]


def images_table(summary: IngestSummary) -> Table:
    splits = ", ".join(f"{count(images)} {split}" for split, images in summary["images"].items())
    unlabelled = ", ".join(f"{count(images)} {split}" for split, images in summary["unlabelled"].items())
    total = sum(summary["images"].values())
    entries = [
        ("Source", summary["source"]),
        ("Images", splits),
        ("Refused", count(summary["rejected"])),
        ("Classes", count(len(summary["labels"]))),
        ("Without a label", unlabelled),
        ("With hashtags", f"{count(summary['images_with_hashtags'])} of {count(total)}"),
        *_with_text(summary, total),
        ("Attribute columns", _columns(summary["attributes"])),
        ("Levels of hierarchy", count(summary["hierarchy_depth"])),
        ("Repeated within a split", _exact_and_near(summary["duplicates"], summary["near_duplicates"])),
        ("Test images also in train", _exact_and_near(summary["leaks"], summary["near_leaks"])),
    ]
    return Table("The images", [Column("Item"), Column("Value")], [[Cell(k), Cell(v)] for k, v in entries])


def _with_text(summary: IngestSummary, total: int) -> list[tuple[str, str]]:
    if "images_with_text" not in summary:
        return []
    return [("With text", f"{count(summary['images_with_text'])} of {count(total)}")]


def _columns(names: Sequence[str]) -> str:
    return f"{count(len(names))}: {listed(list(names), COLUMNS_SHOWN)}" if names else NOTHING


def _exact_and_near(exact: int, near: int | None) -> str:
    return f"{count(exact)} exactly" + (f", {count(near)} nearly" if near is not None else "")


def rejects_table(rejects: pd.DataFrame) -> Table | None:
    """Counts the refused inputs by reason and lists the first ones; None if nothing was refused."""
    if rejects.empty:
        return None
    rows = []
    by_reason = rejects["reason"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    for reason, refused in by_reason.items():
        first = rejects.loc[rejects["reason"] == reason, "where"].head(REJECTS_SHOWN)
        rows.append([Cell(str(reason)), Cell(count(refused)), Cell(", ".join(map(str, first)))])
    columns = [Column("Reason"), Column("Inputs", True), Column(f"First {REJECTS_SHOWN}")]
    return Table("Refused by ingest", columns, rows, note="All of them: data/images/rejects.parquet.")


def changes_tables(changes: Sequence[ClassChange], method: str) -> list[Table]:
    """Lists the largest gains, the largest losses and all classes; without a reference, only the recalls."""
    compared = [change for change in changes if change.before is not None and change.after is not None]
    if not compared:
        plain = [
            [Cell(c.label), Cell(count(c.test_images), c.test_images), _recall(c.after)] for c in changes
        ]
        columns = [Column("Class"), Column("Test images", True), Column(f"Recall, {method}", True)]
        return [Table("Recall by class", columns, plain, sortable=True, kinds="tall")] if plain else []
    widest = max(abs(change.gain) for change in compared) or 1.0
    columns = [
        Column("Class"),
        Column("Test images", True),
        Column("instance", True, "recall under self-supervision"),
        Column(method, True, "recall in the chosen arm"),
        Column("Change", True, "in points of recall"),
    ]

    def rows(some: Sequence[ClassChange]) -> list[list[Cell]]:
        return [
            [
                Cell(change.label),
                Cell(count(change.test_images), change.test_images),
                _recall(change.before),
                _recall(change.after),
                Cell(points(change.gain, 0), change.gain, bar=change.gain / widest),
            ]
            for change in some
        ]

    everything = f"All {plural(len(compared), 'class', 'classes')} with test images"
    whole = Table(everything, columns, rows(compared), sortable=True, kinds="tall")
    if len(compared) <= 2 * SHOWN:
        return [whole]
    gains = [change for change in compared if change.gain > 0][:SHOWN]
    losses = [change for change in reversed(compared) if change.gain < 0][:SHOWN]
    extremes = [("Largest gains", gains), ("Largest losses", losses)]
    return [*(Table(title, columns, rows(some)) for title, some in extremes if some), whole]


def confusions_table(confusions: Sequence[Confusion], method: str) -> Table | None:
    if not confusions:
        return None
    columns = [
        Column("Label"),
        Column("Predicted"),
        Column("Test images", True),
        Column("Share", True, "of the test images of the label"),
    ]
    rows = [
        [
            Cell(c.label),
            Cell(c.predicted),
            Cell(count(c.images), c.images),
            Cell(percent(c.share, 0), c.share),
        ]
        for c in confusions
    ]
    return Table(f"Worst confusions ({method})", columns, rows, sortable=True)


def clusters_table(cards: Sequence[Card]) -> Table | None:
    """Lists the cluster cards without images; None if there is no cluster."""
    if not cards:
        return None
    labelled = any(card.label is not None for card in cards)
    columns = [
        Column("Cluster"),
        Column("Images", True),
        *([Column("Most frequent label")] if labelled else []),
        Column("More frequent here than elsewhere"),
    ]
    rows = []
    for card in cards:
        traits = "; ".join(f"{trait.text} {percent(trait.share, 0)}" for trait in card.traits)
        label = f"{card.label}, {percent(card.purity, 0)}" if card.label is not None else NOTHING
        rows.append(
            [
                Cell(str(card.cluster)),
                Cell(count(card.images), detail=percent(card.share)),
                *([Cell(label)] if labelled else []),
                Cell(traits or NOTHING),
            ]
        )
    return Table("The largest clusters of the chosen arm", columns, rows)


def _recall(recall: float | None) -> Cell:
    return Cell(percent(recall, 0), -1.0 if recall is None else recall)


def _interval(arm: Arm) -> tuple[float, float, float] | None:
    low, high = arm.metrics["top1_low"], arm.metrics["top1_high"]
    return None if arm.top1 is None or low is None or high is None else (low, arm.top1, high)
