"""Output of a table to the terminal."""

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text

from pipeline.presentation.tables import Cell, Table
from pipeline.runtime.console import SafeConsole
from pipeline.runtime.sanitize import for_terminal

_COLOURS = {"chosen": "blue", "untrained": "magenta", "start": "cyan", "instance": "yellow", "label": "green"}


def print_table(table: Table, console: SafeConsole) -> None:
    """Prints `table`, the hints of its columns, and its note.

    Texts are not parsed as rich markup. Numbers are never truncated.
    """
    drawn = RichTable(
        box=SIMPLE_HEAD,
        title=Text(for_terminal(table.caption)),
        title_justify="left",
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for index, column in enumerate(table.columns):
        width = max((len(row[index].text) for row in table.rows), default=0) if column.numeric else None
        drawn.add_column(
            Text(for_terminal(column.title)),
            justify="right" if column.numeric else "left",
            min_width=width,
            overflow="fold",
        )
    for row in table.rows:
        drawn.add_row(*(Text(for_terminal(cell.text), style=_style(cell)) for cell in row))
    console.print(drawn)
    for text in (" ".join(table.hints), table.note):
        if text:
            console.print(text, markup=False)


def _style(cell: Cell) -> str:
    return " ".join(filter(None, [_COLOURS.get(cell.colour, ""), "bold" if cell.strong else ""]))
