"""The `clinfonce` command. The stages themselves are run by `dvc repro`."""

import math
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from pipeline.executors.select import EXECUTOR_VARIABLE, ExecutorName
from pipeline.experiments.study_commands import study_app
from pipeline.runtime.console import echo, terminal
from pipeline.runtime.console import run as run_app
from pipeline.runtime.errors import UserError, exit_on_user_error

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich")


app.add_typer(study_app, name="study")
OUTSIDE_PATHS = "allow links and paths in the data to lead outside the given folder"
LARGEST_BATCH, LARGEST_SEED = 2**20, 2**63 - 1
MOST_MINUTES, MOST_IMAGES, MOST_NEIGHBOURS = 10**6, 10**9, 10**6


def _no_nan(value: float | None) -> float | None:
    """Raises `BadParameter` for NaN, which no comparison with bounds refuses."""
    if value is not None and math.isnan(value):
        raise typer.BadParameter("must be a number, not nan")
    return value


def _print_version(requested: bool) -> None:
    if requested:
        echo(f"clinfonce {version('clinfonce')}")
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="print the version"),
    ] = False,
) -> None:
    """Pretrains image encoders on auxiliary information, by Cl-InfoNCE.

    `dvc repro` runs the pipeline; these commands check, compare, export and apply its results.
    """


@app.command()
@exit_on_user_error()
def statistics(
    table: Annotated[Path, typer.Argument(help="a .csv, .tsv, .jsonl or .parquet file, one row per image")],
    label: Annotated[str, typer.Option(help="column of the labels T")],
    cluster: Annotated[
        list[str] | None,
        typer.Option(help="column of clusters Z, repeatable; default: all with repeated values"),
    ] = None,
    hashtags: Annotated[
        str | None,
        typer.Option(help="column of hashtags, clustered jointly and by topic; default: one of this name"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one object per cluster column")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="print one line per cluster column")] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(min=2, max=LARGEST_BATCH, help="images per batch; adds statistics of a batch"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="seed of independence_p_value")] = 0,
) -> None:
    """Measures what columns and hashtags of a table say about its labels: I(Z;T), H(Z|T) and others.

    Needs neither images nor training.
    """
    from pipeline.statistics.command import run

    run(
        table,
        label,
        cluster or [],
        hashtags,
        as_json=as_json,
        as_csv=as_csv,
        batch_size=batch_size,
        seed=seed,
    )


@app.command()
@exit_on_user_error()
def advise(
    table: Annotated[
        Path | None, typer.Argument(help="a .csv, .tsv, .jsonl or .parquet file, one row per image")
    ] = None,
    label: Annotated[str, typer.Option(help="column of the labels T")] = "label",
    batch_size: Annotated[
        int, typer.Option(min=2, max=LARGEST_BATCH, help="images per batch of the training")
    ] = 128,
    race_minutes: Annotated[
        float | None,
        typer.Option(
            "--race",
            min=0,
            max=MOST_MINUTES,
            callback=_no_nan,
            help="without a table: minutes of short trainings of this project's best candidates",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print everything as JSON")] = False,
    everything: Annotated[bool, typer.Option("--all", help="show all candidates")] = False,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="seed of the random samples")] = 0,
) -> None:
    """Ranks what you could cluster by: columns of a table, joint values of them, and hashtags.

    Needs neither images nor training, unless --race compares the best by short trainings. docs/advice.md says
    how far to trust it.
    """
    if (table is None) == (race_minutes is None):
        raise UserError("name a table, or, in a project whose cluster stage has run, --race MINUTES")
    if table is None or race_minutes is not None:
        from pipeline.experiments.race import race

        race(race_minutes or 0.0, Path.cwd(), terminal())
        return
    from pipeline.advice.command import run

    run(table, label, batch_size=batch_size, seed=seed, as_json_text=as_json, everything=everything)


@app.command()
@exit_on_user_error()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="print the checks as JSON")] = False,
    seconds: Annotated[
        float,
        typer.Option(
            min=0, max=3600, callback=_no_nan, help="how long each training is measured; 0: skip it"
        ),
    ] = 8.0,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=MOST_MINUTES,
            callback=_no_nan,
            help="propose image size, network and epochs for this time budget",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(min=2, max=MOST_IMAGES, help="with --minutes, before ingest: number of train images"),
    ] = None,
) -> None:
    """Checks this machine and estimates a run. Writes nothing; exits with 1 if a check fails."""
    from pipeline.doctor.run import run

    if run(as_json=as_json, seconds=seconds, minutes=minutes, images=images):
        raise typer.Exit(1)


@app.command()
@exit_on_user_error()
def repair(
    path: Annotated[Path, typer.Argument(help="a damaged output below data/, or a file in one")],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask for confirmation")] = False,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="also remove files that were damaged before DVC recorded them")
    ] = False,
) -> None:
    """Removes the damaged files of an output, and their copies in DVC's cache, after confirmation.

    `dvc repro` then restores or recomputes them. Files that match DVC's record stay.
    """
    from pipeline.doctor.repair import repair

    def confirmed() -> bool:
        if not (yes or sys.stdin.isatty()):
            raise UserError("there is no terminal to confirm the removal: add --yes to remove these files")
        return yes or typer.confirm("Remove these files?")

    repair(path, confirmed, recorded=recorded)


@app.command()
@exit_on_user_error()
def compare(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(help="experiments, branches or commits; default: all of the current commit"),
    ] = None,
    html: Annotated[Path, typer.Option(help="HTML page to write")] = Path("compare.html"),
    markdown: Annotated[Path, typer.Option(help="Markdown file to write")] = Path("compare.md"),
    csv: Annotated[Path | None, typer.Option(help="CSV file to write; default: none")] = None,
    with_experiments: Annotated[
        bool, typer.Option("--with-experiments", help="also all experiments of the named branches")
    ] = False,
) -> None:
    """Compares experiments: parameters, accuracy, I(Z;T), H(Z|T), and the best of each budget.

    Runs nothing; the values are those that DVC keeps. A budget is epochs times train images.
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
    """Writes an encoder as a folder to share: weights, configuration, model card with its metrics."""
    from pipeline.inference.export import export
    from pipeline.storage.schema import Layout

    export(arm, output, with_onnx=onnx, layout=Layout(), console=terminal())


@app.command()
@exit_on_user_error()
def embed(
    source: Annotated[Path, typer.Argument(help="a folder of images, a Parquet file or a folder of them")],
    output: Annotated[Path, typer.Option("--output", "-o", help="a .parquet file")],
    arm: Annotated[str | None, typer.Option(help="chosen, instance or label; default: chosen")] = None,
    encoder: Annotated[Path | None, typer.Option(help="folder of an encoder or export")] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, max=LARGEST_BATCH, help="images per batch; default: as many as fit the memory"),
    ] = None,
    image_column: Annotated[str | None, typer.Option(help="image column, if Parquet has several")] = None,
    id_column: Annotated[
        str | None, typer.Option(help="id column of Parquet; default: id, or file and row")
    ] = None,
    allow_outside_paths: Annotated[bool, typer.Option(help=OUTSIDE_PATHS)] = False,
    executor: Annotated[
        ExecutorName, typer.Option(envvar=EXECUTOR_VARIABLE, help="this machine, or a Ray cluster")
    ] = ExecutorName.LOCAL,
) -> None:
    """Writes the features of images as one Parquet file; an interrupted run resumes."""
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
    image: Annotated[Path, typer.Argument(help="an image file")],
    vectors: Annotated[Path, typer.Option(help="output of `clinfonce embed`")] = Path("vectors.parquet"),
    count: Annotated[int, typer.Option(min=1, max=MOST_NEIGHBOURS, help="number of neighbours")] = 10,
    picture: Annotated[Path | None, typer.Option(help="draw them in a .png or .html file")] = None,
    encoder: Annotated[Path | None, typer.Option(help="the encoder's folder, if it has moved since")] = None,
    allow_outside_paths: Annotated[bool, typer.Option(help=OUTSIDE_PATHS)] = False,
) -> None:
    """Finds the images most similar to an image: exact search by the cosine of their features."""
    from pipeline.inference.search import search

    search(image, vectors, count, encoder, picture, terminal(), allow_outside_paths=allow_outside_paths)


@app.command()
@exit_on_user_error()
def run(
    first: Annotated[
        str | None, typer.Option("--from", help="a stage such as pretrain@chosen; default: the first")
    ] = None,
) -> None:
    """Runs all stages without DVC and Git: in the same order, with the same outputs, and without a cache."""
    from pipeline.experiments.run_stages import run_stages

    run_stages(first, Path.cwd())


def main_command() -> None:
    """Runs the script `clinfonce`."""
    run_app(app)
