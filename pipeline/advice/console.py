"""The advice in the terminal."""

from collections.abc import Sequence

from pipeline.advice.advice_table import advice_table
from pipeline.presentation.terminal import print_table
from pipeline.runtime.console import echo, terminal
from pipeline.storage.schema import AdviceRecord

SHOWN = 12
WIDTH_WITHOUT_TERMINAL = 120


def print_advice(record: AdviceRecord, label: str, notes: Sequence[str], *, everything: bool) -> None:
    """Prints the sentences, the command of the pick, and the best candidates; notes go to standard error."""
    console = terminal()
    if not console.is_terminal:
        console = terminal(width=WIDTH_WITHOUT_TERMINAL)
    ranked = record["ranked"] if everything else record["ranked"][:SHOWN]
    left_out = len(record["ranked"]) - len(ranked)
    for sentence in record["sentences"]:
        console.print(sentence, markup=False)
    if record["command"]:
        # In one line however long it is, so that it can be pasted.
        console.echo("", f"    {record['command']}", "")
    print_table(advice_table(ranked, f"What to cluster by, for labels {label}", left_out=left_out), console)
    for finding in record["findings"]:
        console.print(finding["sentence"], markup=False)
    for note in notes:
        echo(f"note: {note}", stderr=True)
