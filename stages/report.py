"""Stage 5: what the arms reached, as a page, a text, and figures for DVC, in data/report."""

import typer

from pipeline.console import run
from pipeline.errors import told_in_a_sentence
from pipeline.params import load_params
from pipeline.report.build import build_report

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main() -> None:
    """Writes what all arms reached to data/report: a page, a text, and figures for DVC."""
    with told_in_a_sentence():
        build_report(load_params())


if __name__ == "__main__":
    run(app)
