"""Stage 1: images and metadata -> checked, sharded Parquet in data/images."""

if __name__ == "__main__":  # before the imports below, which take seconds
    import sys
    from pathlib import Path

    # Python puts stages/ first on the path; the modules of this checkout must take precedence.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from pipeline.runtime.parent import end_with_dvc

    end_with_dvc()

from typing import Annotated

import typer

from pipeline.config.params import load_params
from pipeline.executors.select import EXECUTOR_VARIABLE, ExecutorName
from pipeline.ingest.run import ingest
from pipeline.runtime.console import echo, run
from pipeline.runtime.errors import exit_on_user_error
from pipeline.storage.schema import Layout
from pipeline.storage.timings import timed

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    executor: Annotated[
        ExecutorName, typer.Option(envvar=EXECUTOR_VARIABLE, help="this machine, or a Ray cluster")
    ] = ExecutorName.LOCAL,
) -> None:
    """Reads the images of ingest.source; lists refused inputs in rejects.parquet."""
    with exit_on_user_error():
        params = load_params()
        layout = Layout()
        with timed("ingest", layout.ingest_summary):
            summary = ingest(params.ingest, params.seed, layout, executor)
        counts = summary["images"]
        images = f"{counts['train']:,} train and {counts['test']:,} test images"
        where = f" (listed in {layout.rejects})" if summary["rejected"] else ""
        echo(f"ingest: {images}, {summary['rejected']:,} refused{where}")
        for note in summary["notes"]:
            echo(f"ingest: note: {note}")


if __name__ == "__main__":
    run(app)
