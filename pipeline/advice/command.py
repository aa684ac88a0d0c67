"""Implementation of `clinfonce advise`: what to cluster by, from a table alone."""

from pathlib import Path

from pipeline.advice.advise import advise
from pipeline.advice.console import print_advice
from pipeline.advice.table import read_sample
from pipeline.advice.wording import as_record
from pipeline.runtime.console import echo, print_json
from pipeline.storage.schema import AdviceRecord


def run(path: Path, label: str, *, batch_size: int, seed: int, as_json_text: bool, everything: bool) -> None:
    """Prints the advice to standard output and notes to standard error."""
    record, notes = advice_of_table(path, label, batch_size=batch_size, seed=seed)
    if as_json_text:
        print_json(record)
        for note in notes:
            echo(f"note: {note}", stderr=True)
    else:
        print_advice(record, label, notes, everything=everything)


def advice_of_table(path: Path, label: str, *, batch_size: int, seed: int) -> tuple[AdviceRecord, list[str]]:
    """Returns the advice, and notes on the table. Raises `UserError` for a table that cannot be used."""
    sample = read_sample(path, label, batch_size, seed)
    advice = advise(sample.columns, sample.others, sample.labelled, seed=seed)
    return as_record(advice, sample.of_images), sample.notes
