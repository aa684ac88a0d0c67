"""The section of the report that says what to cluster by."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.advice.advice_table import advice_table
from pipeline.presentation.formatting import points
from pipeline.presentation.tables import Table
from pipeline.report.arms import Arm
from pipeline.report.findings import Finding
from pipeline.storage.schema import AdviceRecord

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


def advice_findings(record: AdviceRecord) -> Iterator[Finding]:
    for finding in record["findings"]:
        yield Finding(finding["code"], finding["sentence"], "advice")


def _gap(arms: Sequence[Arm]) -> float | None:
    top1 = {arm.name: arm.top1 for arm in arms}
    instance, label = top1.get("instance"), top1.get("label")
    return label - instance if instance is not None and label is not None and label > instance else None
