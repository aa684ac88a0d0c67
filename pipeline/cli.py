"""The `clinfonce` command: what people use beside the stages."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import told_in_a_sentence

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich", help=__doc__)


study_app = typer.Typer(no_args_is_help=True, help="Experiments that answer one question together.")
app.add_typer(study_app, name="study")
STUDY_DATA = "a file such as studies/data/cifar100.yaml; without it the images of params.yaml"


@app.callback()
def main() -> None:
    """Learn image representations from hashtags, attributes and category trees."""


@app.command()
def statistics(
    table: Annotated[Path, typer.Argument(help="a .csv, .tsv, .jsonl or .parquet file")],
    label: Annotated[str, typer.Option(help="column of the labels T")],
    cluster: Annotated[
        list[str] | None,
        typer.Option(help="column of clusters Z, may be repeated; default: every column whose values repeat"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="a list, one object a cluster column")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="one line a cluster column")] = False,
    batch_size: Annotated[
        int | None, typer.Option(min=2, help="images a batch: adds what a batch sees of each clustering")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the bootstrap intervals")] = 0,
) -> None:
    """I(Z;T), H(Z|T) and their kin: what columns of any table tell of its labels. No images needed."""
    from pipeline.statistics.command import run

    with told_in_a_sentence():
        run(table, label, cluster or [], as_json=as_json, as_csv=as_csv, batch_size=batch_size, seed=seed)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="for machines: sections of checks")] = False,
    seconds: Annotated[
        float, typer.Option(min=0, help="how long each training is measured; 0: not at all")
    ] = 8.0,
) -> None:
    """Is this machine ready, and what will a run take? Writes nothing; exit code 1 when something fails."""
    from pipeline.doctor.run import run

    with told_in_a_sentence():
        if run(as_json=as_json, seconds=seconds):
            raise typer.Exit(1)


@app.command()
def compare(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(help="experiments, branches or commits; without them what `dvc exp show` shows"),
    ] = None,
    html: Annotated[Path, typer.Option(help="the page to write")] = Path("compare.html"),
    markdown: Annotated[Path, typer.Option(help="the text to write")] = Path("compare.md"),
    csv: Annotated[Path | None, typer.Option(help="a table to write, none unless asked for")] = None,
    with_experiments: Annotated[
        bool, typer.Option("--with-experiments", help="and all that were made from the named branches")
    ] = False,
) -> None:
    """Sets successful experiments in one table: what differs, I(Z;T), H(Z|T), accuracy, best per budget."""
    from pipeline.compare.build import compare_experiments

    with told_in_a_sentence():
        compare_experiments(experiments or [], html, markdown, csv, with_experiments=with_experiments)


@study_app.command(name="run")
def run_study(
    study: Annotated[Path, typer.Argument(help="a file such as studies/unsupervised.yaml")],
    data: Annotated[Path | None, typer.Option(help=STUDY_DATA)] = None,
) -> None:
    """Makes the missing experiments of a study; after an interruption it goes on where it was."""
    from rich.console import Console

    from pipeline.studies.run import run_study

    with told_in_a_sentence():
        run_study(study, data, Path.cwd(), Console(stderr=True))


@study_app.command(name="report")
def report_study(
    study: Annotated[Path, typer.Argument(help="a file such as studies/unsupervised.yaml")],
    data: Annotated[Path | None, typer.Option(help=STUDY_DATA)] = None,
    output: Annotated[Path, typer.Option(help="folder of the table and the picture")] = Path("docs/studies"),
) -> None:
    """Mean and spread over the seeds of what is there, as <study>.md and <study>.svg."""
    from rich.console import Console

    from pipeline.studies.report import report_study

    with told_in_a_sentence():
        report_study(study, data, Path.cwd(), output, Console())
