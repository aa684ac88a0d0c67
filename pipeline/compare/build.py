"""`clinfonce compare`: reads, prints, writes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.compare.contents import ComparisonContents, gather
from pipeline.compare.experiments import FIGURES, Comparison, Row, select
from pipeline.files import write_csv, write_text
from pipeline.report.markdown import bullets, escaped, table
from pipeline.report.page import render
from pipeline.report.terminal import print_table


def compare_experiments(names: Sequence[str], html: Path, markdown: Path, csv: Path | None) -> None:
    """Prints DVC's successful experiments, best first, and writes them to the files.

    Raises `UserError` for a name that is no experiment, branch or commit, or outside of a repository.
    """
    # dvc takes a second to import, which the pure part and its tests need not pay.
    from pipeline.compare.dvc_rows import read_locks, read_rows

    rows = read_rows(names)
    write_comparison(rows, read_locks(rows), html, markdown, csv)


def write_comparison(
    rows: Sequence[Row],
    locks: Mapping[str, Mapping[str, Any] | None],
    html: Path,
    markdown: Path,
    csv: Path | None,
) -> None:
    comparison = select(rows, locks)
    contents = gather(comparison)
    write_text(html, render("compare.html", package="pipeline.compare", contents=contents))
    write_text(markdown, comparison_markdown(contents))
    if csv is not None:
        write_csv(csv, *_csv_table(comparison))

    console = Console()
    if contents.table.rows:
        print_table(contents.table, console)
        for place, name, *_ in contents.table.rows:
            console.print(f"{place.text:>3}  {name.text}: {name.detail}", markup=False, highlight=False)
        console.print()
    for text in [contents.summary, *contents.left_out]:
        console.print(text, markup=False, highlight=False)
    written = ", ".join(str(path) for path in (html, markdown, csv) if path is not None)
    console.print(f"\nWritten: {written}", markup=False, highlight=False, soft_wrap=True)


def comparison_markdown(contents: ComparisonContents) -> str:
    parts = [f"# {contents.title}", escaped(contents.summary)]
    parts += [table(contents.table)] if contents.table.rows else []
    parts += [bullets([f"{picture.title}: {picture.caption}" for picture in contents.pictures])]
    parts += ["## Left out", bullets(contents.left_out)] if contents.left_out else []
    return "\n\n".join(part for part in parts if part) + "\n"


def _csv_table(comparison: Comparison) -> tuple[list[str], list[dict[str, Any]]]:
    keys = comparison.differing()
    columns = ["experiment", "rev", "method", *FIGURES, "gap_closed", *keys]
    rows = [
        {"experiment": e.name, "rev": e.rev, "method": e.method, "gap_closed": e.gap_closed}
        | dict(e.figures)
        | {key: e.params.get(key) for key in keys}
        for e in comparison.experiments
    ]
    return columns, rows
