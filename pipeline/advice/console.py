"""The advice in the terminal."""

from collections.abc import Sequence

from pipeline.advice.advise import Advice, Ranked
from pipeline.advice.wording import command, findings, sentences, share
from pipeline.presentation.tables import Cell, Column, Table
from pipeline.presentation.terminal import print_table
from pipeline.runtime.console import SafeConsole, echo, terminal

SHOWN = 12
WIDTH_WITHOUT_TERMINAL = 120


def print_advice(advice: Advice, label: str, notes: Sequence[str], *, everything: bool) -> None:
    """Prints the sentences, the command of the pick, and the best candidates; notes go to standard error."""
    console = terminal()
    if not console.is_terminal:
        console = terminal(width=WIDTH_WITHOUT_TERMINAL)
    _paragraphs(console, sentences(advice))
    if advice.pick is not None:
        _paragraphs(console, ["", f"    {command(advice.pick)}", ""])
    shown = advice.ranked if everything else advice.ranked[:SHOWN]
    print_table(table(shown, label), console)
    if len(shown) < len(advice.ranked):
        echo(f"{len(advice.ranked) - len(shown):,} more: --all shows them.")
    _paragraphs(console, [finding.sentence for finding in findings(advice)])
    for note in notes:
        echo(f"note: {note}", stderr=True)


def table(ranked: Sequence[Ranked], label: str) -> Table:
    columns = [
        Column("cluster by"),
        Column("gain", numeric=True, hint="share of what labels would add to self-supervision, expected"),
        Column("90 % interval", numeric=True),
        Column("I(Z;T)", numeric=True, hint="bits that the clusters tell about the label"),
        Column("H(Z|T)", numeric=True, hint="bits by which they split labels"),
        Column("clusters", numeric=True),
    ]
    rows = [
        [
            Cell(
                ("* " if one.as_good_as_best else "  ")
                + one.name
                + (" (names the label)" if one.names_the_label else "")
            ),
            Cell(share(one.gain.estimate)),
            Cell(f"{share(one.gain.low)} to {share(one.gain.high)}"),
            Cell(f"{one.mutual_information_bits:.2f}"),
            Cell(f"{one.conditional_entropy_bits:.2f}"),
            Cell(f"{one.clusters:,}"),
        ]
        for one in ranked
    ]
    return Table(f"What to cluster by, for labels {label}", columns, rows, note="*: as good as the best.")


def _paragraphs(console: SafeConsole, texts: Sequence[str]) -> None:
    for text in texts:
        console.print(text, markup=False)
