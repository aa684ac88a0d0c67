"""The report as GitHub-flavoured Markdown."""

from collections.abc import Sequence

from pipeline.presentation.markdown import bullets, escaped, table
from pipeline.report.advice import AdviceSection
from pipeline.report.contents import Contents
from pipeline.report.findings import Finding
from pipeline.report.sections import clusters_table
from pipeline.runtime.sanitize import for_terminal


def report_markdown(contents: Contents) -> str:
    parts = [f"# {escaped(contents.title)}", escaped(contents.verdict), table(contents.arms)]
    parts += _advice(contents.advice) if contents.advice else []
    parts += [table(contents.fewer_labels)] if contents.fewer_labels else []
    parts += _section("Findings", [bullets([_text(finding) for finding in contents.findings])])
    # With many classes, only the largest changes are listed; the HTML report lists all.
    changes = [table(t) for t in contents.changes if not t.sortable or len(contents.changes) == 1]
    parts += _section("Classes", [*changes, *([table(contents.confusions)] if contents.confusions else [])])
    largest = clusters_table(contents.cards)
    # The HTML report lists all clusterings, with a chart.
    shown = [contents.best_choices, largest]
    parts += _section("Clusters", [table(t) for t in shown if t])
    refused = [table(contents.rejects)] if contents.rejects else []
    parts += _section("Images", [table(contents.images), *refused, bullets(contents.notes)])
    parts += _section("Training", [table(contents.training_table)])
    parts += _section("Provenance", [table(t) for t in contents.provenance])
    return "\n\n".join(parts) + "\n"


def _advice(advice: AdviceSection) -> list[str]:
    command = [f"    {for_terminal(advice.command)}"] if advice.command else []
    return ["## What to cluster by", *map(escaped, advice.sentences), *command, table(advice.table)]


def _section(title: str, parts: Sequence[str]) -> list[str]:
    kept = [part for part in parts if part]
    return [f"## {title}", *kept] if kept else []


def _text(finding: Finding) -> str:
    return " ".join(filter(None, [finding.sentence, finding.cure, f"({finding.where}: {finding.code})"]))
