"""Stage 1: images and what is known of them -> checked, sharded Parquet in data/images."""

if __name__ == "__main__":  # before the imports below, which take seconds
    import sys
    from pathlib import Path

    # Python puts stages/ first on the path; its checkout's modules count, whatever is installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from pipeline.parent import end_with_dvc

    end_with_dvc()

from typing import Annotated

import typer

from pipeline.console import run, say
from pipeline.engines.choice import ENGINE_VARIABLE, EngineName
from pipeline.errors import told_in_a_sentence
from pipeline.ingest.run import ingest
from pipeline.params import load_params
from pipeline.schema import Layout
from pipeline.times import timed

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    engine: Annotated[
        EngineName, typer.Option(envvar=ENGINE_VARIABLE, help="who prepares the images")
    ] = EngineName.LOCAL,
) -> None:
    """Reads ingest.source as params.yaml says; every refused input goes to rejects.parquet."""
    with told_in_a_sentence():
        params = load_params()
        layout = Layout()
        with timed("ingest", layout.ingest_summary):
            summary = ingest(params.ingest, params.seed, layout, engine)
        counts = summary["images"]
        images = f"{counts['train']:,} train and {counts['test']:,} test images"
        where = f" (listed in {layout.rejects})" if summary["rejected"] else ""
        say(f"ingest: {images}, {summary['rejected']:,} refused{where}")
        for note in summary["notes"]:
            say(f"ingest: note: {note}")


if __name__ == "__main__":
    run(app)
