"""The reference `untrained`: train images -> filters without training, in data/encoders/untrained."""

if __name__ == "__main__":  # before the imports below, which take seconds
    import sys
    from pathlib import Path

    # Python puts stages/ first on the path; the modules of this checkout must take precedence.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from pipeline.runtime.parent import end_with_dvc

    end_with_dvc()

import typer

from pipeline.config.params import load_params
from pipeline.runtime.console import echo, run
from pipeline.runtime.errors import exit_on_user_error
from pipeline.storage.placeholders import leave_out_untrained
from pipeline.storage.schema import UNTRAINED, Layout
from pipeline.storage.timings import timed

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main() -> None:
    """Builds the reference `untrained`, whose filters are patches of the train images."""
    with exit_on_user_error():
        params, layout = load_params(), Layout()
        if leave_out_untrained(layout, params.report.references):
            return
        from pipeline.training.untrained import write_untrained  # here, to save time if the arm is left out

        with timed(UNTRAINED, layout.encoder(UNTRAINED) / "config.json"):
            write_untrained(params.ingest.image_size, params.seed, layout)
        echo("untrained: filters taken from the train images")


if __name__ == "__main__":
    run(app)
