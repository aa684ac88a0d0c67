"""The commands `clinfonce study run` and `clinfonce study report`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.runtime.console import terminal
from pipeline.runtime.errors import exit_on_user_error

study_app = typer.Typer(no_args_is_help=True, help="Sets of experiments that answer one question.")
STUDY = "a file such as studies/unsupervised.yaml"
STUDY_DATA = "a file such as studies/data/cifar100.yaml; default: the images of params.yaml"


@study_app.command(name="run")
@exit_on_user_error()
def run_study(
    study: Annotated[Path, typer.Argument(help=STUDY)],
    data: Annotated[Path | None, typer.Option(help=STUDY_DATA)] = None,
) -> None:
    """Runs the missing experiments of a study; an interrupted study resumes."""
    from pipeline.experiments.run_study import run_study

    run_study(study, data, Path.cwd(), terminal(stderr=True))


@study_app.command(name="report")
@exit_on_user_error()
def report_study(
    study: Annotated[Path, typer.Argument(help=STUDY)],
    data: Annotated[Path | None, typer.Option(help=STUDY_DATA)] = None,
    output: Annotated[Path, typer.Option(help="folder of the table and the figure")] = Path("docs/studies"),
) -> None:
    """Writes mean and spread over the seeds of all finished experiments, as a table and a figure."""
    from pipeline.experiments.report_study import report_study

    report_study(study, data, Path.cwd(), output, terminal())
