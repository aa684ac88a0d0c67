"""Tables and texts as GitHub-flavoured Markdown, with untrusted strings escaped."""

from collections.abc import Sequence

from pipeline.presentation.tables import Cell, Table
from pipeline.runtime.sanitize import for_markdown

escaped = for_markdown


def table(shown: Table) -> str:
    """Renders the caption in bold, the table, the hints of its columns, and the note."""
    head = [escaped(column.title) for column in shown.columns]
    rule = ["--:" if column.numeric else "---" for column in shown.columns]
    body = [[_cell(cell) for cell in row] for row in shown.rows]
    lines = [f"| {' | '.join(row)} |" for row in [head, rule, *body]]
    below = [" ".join(shown.hints), shown.note]
    return "\n".join([f"**{escaped(shown.caption)}**\n", *lines, *(f"\n{escaped(t)}" for t in below if t)])


def bullets(texts: Sequence[str]) -> str:
    return "\n".join(f"- {escaped(text)}" for text in texts)


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    marked = f"**{text}**" if cell.strong and text else text
    return f"{marked} ({escaped(cell.detail)})" if cell.detail else marked
