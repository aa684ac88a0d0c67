"""The `clinfonce` command: what people use beside `dvc repro`, which runs the stages."""

import math
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from pipeline.executors.select import EXECUTOR_VARIABLE, ExecutorName
from pipeline.runtime.console import echo, terminal
from pipeline.runtime.console import run as run_app
from pipeline.runtime.errors import UserError, exit_on_user_error

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich")


study_app = typer.Typer(no_args_is_help=True, help="Experiments that answer one question together.")
app.add_typer(study_app, name="study")
STUDY = "a file such as studies/unsupervised.yaml"
OUTSIDE_PATHS = "let links and paths in the data lead out of the folder that was named"
LARGEST_BATCH, LARGEST_SEED = 2**20, 2**63 - 1
MOST_MINUTES, MOST_IMAGES, MOST_NEIGHBOURS = 10**6, 10**9, 10**6
STUDY_DATA = "a file such as studies/data/cifar100.yaml; without it the images of params.yaml"


def _no_nan(value: float | None) -> float | None:
    """Raises `BadParameter` for NaN, which passes any comparison with bounds."""
    if value is not None and math.isnan(value):
        raise typer.BadParameter("must be a number, and is nan")
    return value


def _print_version(requested: bool) -> None:
    if requested:
        echo(f"clinfonce {version('clinfonce')}")
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and end"),
    ] = False,
) -> None:
    """Which of the things you know about your images helps a model to see them?

    `dvc repro` runs the pipeline; these commands stand beside it.
    """


@app.command()
@exit_on_user_error()
def statistics(
    table: Annotated[Path, typer.Argument(help="a .csv, .tsv, .jsonl or .parquet file, one row per image")],
    label: Annotated[str, typer.Option(help="column of the labels T")],
    cluster: Annotated[
        list[str] | None,
        typer.Option(
            help="column of clusters Z, may be repeated; without it each column whose values repeat"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one object per cluster column")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="print one line per cluster column")] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=2, max=LARGEST_BATCH, help="images per batch; adds what a batch sees of each clustering"
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="of the shuffled tables behind independence_p_value")
    ] = 0,
) -> None:
    """Measures what columns of a table say about its labels: I(Z;T), H(Z|T) and related figures.

    No images and no training are needed.
    """
    from pipeline.statistics.command import run

    run(table, label, cluster or [], as_json=as_json, as_csv=as_csv, batch_size=batch_size, seed=seed)


@app.command()
@exit_on_user_error()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="for machines: sections of checks")] = False,
    seconds: Annotated[
        float,
        typer.Option(
            min=0, max=3600, callback=_no_nan, help="how long each training is measured; 0: not at all"
        ),
    ] = 8.0,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=MOST_MINUTES,
            callback=_no_nan,
            help="propose image size, network and epochs for this time",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(min=2, max=MOST_IMAGES, help="with --minutes, before ingest: how many train images"),
    ] = None,
) -> None:
    """Is this machine ready, and what will a run take? Writes nothing; exit code 1 when something fails."""
    from pipeline.doctor.run import run

    if run(as_json=as_json, seconds=seconds, minutes=minutes, images=images):
        raise typer.Exit(1)


@app.command()
@exit_on_user_error()
def repair(
    path: Annotated[Path, typer.Argument(help="an output below data/, or a file in one, that is damaged")],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="also what was damaged before DVC recorded it")
    ] = False,
) -> None:
    """Takes what is damaged of an output away, in DVC's cache too, after asking.

    `dvc repro` then brings it back or makes it again. What is as DVC recorded it stays.
    """
    from pipeline.doctor.repair import repair

    def agreed() -> bool:
        if not (yes or sys.stdin.isatty()):
            raise UserError("nobody can be asked here: add --yes if that shall go")
        return yes or typer.confirm("Remove it?")

    repair(path, agreed, recorded=recorded)


@app.command()
@exit_on_user_error()
def compare(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(help="experiments, branches or commits; without them all from the current commit"),
    ] = None,
    html: Annotated[Path, typer.Option(help="the page to write")] = Path("compare.html"),
    markdown: Annotated[Path, typer.Option(help="the text to write")] = Path("compare.md"),
    csv: Annotated[Path | None, typer.Option(help="a table to write, none unless asked for")] = None,
    with_experiments: Annotated[
        bool, typer.Option("--with-experiments", help="and all that were made from the named branches")
    ] = False,
) -> None:
    """Sets experiments side by side: what differs, accuracy, I(Z;T), H(Z|T), the best of each budget.

    Nothing is run; the figures are those that DVC keeps. A budget is epochs times train images.
    """
    from pipeline.experiments.compare import compare_experiments

    compare_experiments(experiments or [], html, markdown, csv, with_experiments=with_experiments)


@app.command()
@exit_on_user_error()
def export(
    arm: Annotated[str, typer.Option(help="chosen, instance or label")] = "chosen",
    output: Annotated[Path, typer.Option(help="folder to write")] = Path("export"),
    onnx: Annotated[bool, typer.Option("--onnx", help="also encoder.onnx, checked against torch")] = False,
) -> None:
    """A folder to take away or upload: weights, configuration, model card with the measured figures."""
    from pipeline.inference.export import export
    from pipeline.storage.schema import Layout

    export(arm, output, with_onnx=onnx, layout=Layout(), console=terminal())


@app.command()
@exit_on_user_error()
def embed(
    source: Annotated[Path, typer.Argument(help="a folder of images, a Parquet file or a folder of them")],
    output: Annotated[Path, typer.Option("--output", "-o", help="a .parquet file")],
    arm: Annotated[str | None, typer.Option(help="chosen, instance or label; without it chosen")] = None,
    encoder: Annotated[Path | None, typer.Option(help="a folder with an encoder, such as an export")] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, max=LARGEST_BATCH, help="images at once; by default as the memory allows"),
    ] = None,
    image_column: Annotated[str | None, typer.Option(help="of Parquet, if it has several")] = None,
    id_column: Annotated[str | None, typer.Option(help="of Parquet; without it id, or file and row")] = None,
    allow_outside_paths: Annotated[bool, typer.Option(help=OUTSIDE_PATHS)] = False,
    executor: Annotated[
        ExecutorName, typer.Option(envvar=EXECUTOR_VARIABLE, help="this machine, or a Ray cluster")
    ] = ExecutorName.LOCAL,
) -> None:
    """The features of any images as one Parquet file; a killed run goes on where it was."""
    from pipeline.inference.embed import embed
    from pipeline.inference.embedder import Request
    from pipeline.inference.open_encoder import encoder_folder
    from pipeline.storage.schema import Layout

    folder = encoder_folder(arm, encoder, Layout())
    request = Request(source, image_column, id_column, folder, batch_size, allow_outside_paths)
    embed(request, output, terminal(stderr=True), executor)


@app.command()
@exit_on_user_error()
def search(
    image: Annotated[Path, typer.Argument(help="a picture")],
    vectors: Annotated[Path, typer.Option(help="what `clinfonce embed` wrote")] = Path("vectors.parquet"),
    count: Annotated[int, typer.Option(min=1, max=MOST_NEIGHBOURS, help="neighbours")] = 10,
    picture: Annotated[Path | None, typer.Option(help="draw them: a .png or .html file")] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="the encoder's folder, if it moved since the vectors were made")
    ] = None,
    allow_outside_paths: Annotated[bool, typer.Option(help=OUTSIDE_PATHS)] = False,
) -> None:
    """The images most similar to a picture: exact, by the cosine of their features."""
    from pipeline.inference.search import search

    search(image, vectors, count, encoder, picture, terminal(), allow_outside_paths=allow_outside_paths)


@study_app.command(name="run")
@exit_on_user_error()
def run_study(
    study: Annotated[Path, typer.Argument(help=STUDY)],
    data: Annotated[Path | None, typer.Option(help=STUDY_DATA)] = None,
) -> None:
    """Runs the missing experiments of a study; after an interruption it goes on where it was."""
    from pipeline.experiments.run_study import run_study

    run_study(study, data, Path.cwd(), terminal(stderr=True))


@study_app.command(name="report")
@exit_on_user_error()
def report_study(
    study: Annotated[Path, typer.Argument(help=STUDY)],
    data: Annotated[Path | None, typer.Option(help=STUDY_DATA)] = None,
    output: Annotated[Path, typer.Option(help="folder of the table and the picture")] = Path("docs/studies"),
) -> None:
    """Writes mean and spread over the seeds of what is there, as a table and a picture."""
    from pipeline.experiments.report_study import report_study

    report_study(study, data, Path.cwd(), output, terminal())


def main_command() -> None:
    """The script `clinfonce`."""
    run_app(app)
