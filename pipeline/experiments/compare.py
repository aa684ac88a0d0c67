"""Implementation of `clinfonce compare`: reads the experiments, prints and writes the comparison."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.experiments.comparison import ComparisonContents, GroupContents, gather
from pipeline.experiments.csv_table import csv_table
from pipeline.experiments.experiment import Comparison
from pipeline.experiments.git import git, is_object
from pipeline.experiments.outlook import Workspace
from pipeline.experiments.refs import LISTING, experiments_in
from pipeline.experiments.selection import select
from pipeline.presentation.html import render
from pipeline.presentation.markdown import bullets, escaped, table
from pipeline.presentation.terminal import print_table
from pipeline.runtime.console import terminal
from pipeline.runtime.errors import listed
from pipeline.storage.files import check_output, write_csv, write_text
from pipeline.untrusted.dvc.process import reading
from pipeline.untrusted.dvc_lock import read_lock
from pipeline.untrusted.git import check_complete, check_trusted


def compare_experiments(
    names: Sequence[str], html: Path, markdown: Path, csv: Path | None, *, with_experiments: bool = False
) -> None:
    """Prints DVC's successful experiments, best first, and writes them to the files.

    Raises `UserError` for a name that is not an experiment, branch or commit, outside of a repository, and
    for files that can't be written.
    """
    for path, option in ((html, "--html"), (markdown, "--markdown"), (csv, "--csv")):
        if path is not None:
            check_output(path, option)
    check_trusted()
    commits = _commits(names)
    check_complete(commits)
    request = {"names": list(names), "with_experiments": with_experiments}
    what = f"the repository at {listed(list(names))}" if names else "this repository"
    with reading("pipeline.experiments.dvc_reader", request, what, len(commits)) as found:
        rows = found["rows"]
    locks = {rev: read_lock(rev) for rev in (str(row["rev"]) for row in rows)}
    comparison = select(rows, locks, found["reasons"], found["train_images"])
    write_comparison(comparison, html, markdown, csv, Workspace.read())


def _commits(names: Sequence[str]) -> list[str]:
    """Returns the commits that DVC reads for `names`, or by default."""
    experiments = experiments_in(git(*LISTING))
    commits = [rev for name in names or experiments for pair in experiments.get(name, []) for rev in pair]
    return sorted({*commits, *filter(is_object, names or ["HEAD"])})


def write_comparison(
    comparison: Comparison, html: Path, markdown: Path, csv: Path | None, workspace: Workspace | None = None
) -> None:
    contents = gather(comparison, workspace)
    write_text(html, render("compare.html", package="pipeline.experiments", contents=contents))
    write_text(markdown, comparison_markdown(contents))
    if csv is not None:
        write_csv(csv, *csv_table(comparison))

    console = terminal()

    def echo(text: str) -> None:
        console.print(text, markup=False)

    for group in contents.groups:
        if len(contents.groups) > 1:
            echo(group.images)
            echo("")
        print_table(group.table, console)
        for place, name, *_ in group.table.rows:
            echo(f"{place.text:>3}  {name.text}: {name.detail}")
        echo("")
        for more in (group.budgets, group.outlook):
            if more is not None:
                print_table(more, console)
                echo("")
        for text in _captions(group):
            echo(text)
        echo(group.summary)
        echo("")
    for text in [contents.summary, *contents.left_out]:
        if text:
            echo(text)
    written = ", ".join(str(path) for path in (html, markdown, csv) if path is not None)
    console.echo("", f"Written: {written}")


def comparison_markdown(contents: ComparisonContents) -> str:
    parts = [f"# {contents.title}", escaped(contents.summary)]
    for group in contents.groups:
        parts += [f"## {escaped(group.images)}"] if len(contents.groups) > 1 else []
        parts += [escaped(group.summary), table(group.table)]
        parts += [table(more) for more in (group.budgets, group.outlook) if more is not None]
        parts += [bullets(_captions(group))]
    parts += ["## Left out", bullets(contents.left_out)] if contents.left_out else []
    return "\n\n".join(part for part in parts if part) + "\n"


def _captions(group: GroupContents) -> list[str]:
    """Returns the captions of the pictures as text; pictures with the same caption share an entry."""
    titles: dict[str, list[str]] = {}
    for picture in group.pictures:
        titles.setdefault(picture.caption, []).append(picture.title)
    return [f"{' and '.join(alike)}: {caption}" for caption, alike in titles.items()]
