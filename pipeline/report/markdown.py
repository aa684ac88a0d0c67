"""Tables and texts as GitHub-flavoured Markdown in which strangers' strings stay text."""

from collections.abc import Sequence

from pipeline.escaping import for_markdown
from pipeline.report.contents import Contents
from pipeline.report.findings import Finding
from pipeline.report.sections import clusters_table
from pipeline.report.tables import Cell, Table

escaped = for_markdown


def table(shown: Table) -> str:
    """The table under its caption in bold, behind it what its columns mean, and the note."""
    head = [escaped(column.title) for column in shown.columns]
    rule = ["--:" if column.numeric else "---" for column in shown.columns]
    body = [[_cell(cell) for cell in row] for row in shown.rows]
    lines = [f"| {' | '.join(row)} |" for row in [head, rule, *body]]
    below = [" ".join(shown.hints), shown.note]
    return "\n".join([f"**{escaped(shown.caption)}**\n", *lines, *(f"\n{escaped(t)}" for t in below if t)])


def report_markdown(contents: Contents) -> str:
    parts = [f"# {escaped(contents.title)}", escaped(contents.verdict), table(contents.arms)]
    parts += [table(contents.fewer_labels)] if contents.fewer_labels else []
    parts += _section("Findings", [bullets([_told(finding) for finding in contents.findings])])
    # Where there are many classes, the HTML report has them all; here the largest changes are enough.
    changes = [table(t) for t in contents.changes if not t.sortable or len(contents.changes) == 1]
    parts += _section("Classes", [*changes, *([table(contents.confusions)] if contents.confusions else [])])
    largest = clusters_table(contents.cards)
    # The HTML report has all of them, and their picture.
    shown = [contents.best_choices, largest]
    parts += _section("Clusters", [table(t) for t in shown if t])
    refused = [table(contents.rejects)] if contents.rejects else []
    parts += _section("Images", [table(contents.images), *refused, bullets(contents.notes)])
    parts += _section("Training", [table(contents.training_table)])
    parts += _section("Provenance", [table(t) for t in contents.provenance])
    return "\n\n".join(parts) + "\n"


def _section(title: str, parts: Sequence[str]) -> list[str]:
    kept = [part for part in parts if part]
    return [f"## {title}", *kept] if kept else []


def _told(finding: Finding) -> str:
    return " ".join(filter(None, [finding.sentence, finding.cure, f"({finding.where}: {finding.code})"]))


def bullets(texts: Sequence[str]) -> str:
    return "\n".join(f"- {escaped(text)}" for text in texts)


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    marked = f"**{text}**" if cell.strong and text else text
    return f"{marked} ({escaped(cell.detail)})" if cell.detail else marked
