"""The section of the report that says what to cluster by."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.advice.advice_table import advice_table
from pipeline.config.pretrain import PretrainParams
from pipeline.objectives.traits import TRAITS
from pipeline.presentation.formatting import points
from pipeline.presentation.tables import Table
from pipeline.report.arms import Arm
from pipeline.report.findings import Finding
from pipeline.runtime.errors import listed
from pipeline.storage.schema import CHOSEN, AdviceRecord

SHOWN = 8


@dataclass(frozen=True)
class AdviceSection:
    sentences: list[str]
    command: str | None
    table: Table


def advice_section(record: AdviceRecord, arms: Sequence[Arm]) -> AdviceSection | None:
    """Returns None if nothing could be compared."""
    if not record["ranked"]:
        return None
    gap = _gap(arms)
    sentences = list(record["sentences"])
    if gap is not None:
        sentences.append(
            f"On these images, labels added {points(gap, signed=False)} points of top-1 to self-supervision."
        )
    shown = record["ranked"][:SHOWN]
    left_out = len(record["ranked"]) - len(shown)
    caption = "What to cluster by, by forecasts that need no training"
    return AdviceSection(sentences, record["command"], advice_table(shown, caption, gap, left_out))


def advice_findings(record: AdviceRecord, pretrain: PretrainParams) -> Iterator[Finding]:
    for finding in record["findings"]:
        yield Finding(finding["code"], finding["sentence"], "advice")
    yield from _about_attributes(record, pretrain)


def _about_attributes(record: AdviceRecord, pretrain: PretrainParams) -> Iterator[Finding]:
    """Yields a finding if the objective learned from columns that name the label, which it cannot know."""
    traits = TRAITS[pretrain.objective]
    if traits.learns_from != "attributes":
        return
    read = pretrain.multi_head.columns if traits.attributes == "columns" else []
    naming = [
        one["name"]
        for one in record["ranked"]
        if one["is_column"] and one["names_the_label"] and (not read or one["name"] in read)
    ]
    if naming:
        yield Finding(
            "attributes_determine_labels",
            f"pretrain.objective={pretrain.objective} learned from {listed(naming, 5)}, from which the label "
            "of nearly every image follows, so this is supervised training.",
            CHOSEN,
            "Name the other columns in ingest.columns.attributes if the accuracy should show what "
            "unsupervised information is worth.",
        )


def _gap(arms: Sequence[Arm]) -> float | None:
    top1 = {arm.name: arm.top1 for arm in arms}
    instance, label = top1.get("instance"), top1.get("label")
    return label - instance if instance is not None and label is not None and label > instance else None
