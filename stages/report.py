"""Stage `report`: what the arms reached, as a page, a text, and figures for DVC."""

import typer

from pipeline.errors import told_in_a_sentence
from pipeline.params import load_params
from pipeline.report.build import build_report


def main() -> None:
    """Write the report on all arms."""
    with told_in_a_sentence():
        build_report(load_params())


if __name__ == "__main__":
    typer.run(main)
