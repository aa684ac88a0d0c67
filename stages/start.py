"""The reference `start`: the weights in pretrain.weights -> an encoder, in data/encoders/start."""

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
from pipeline.storage.placeholders import leave_out_frozen_features, leave_out_start
from pipeline.storage.schema import START, Layout
from pipeline.storage.timings import timed

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main() -> None:
    """Reads the weights from which training starts, and prepares them as an encoder."""
    with exit_on_user_error():
        params, layout = load_params(), Layout()
        if leave_out_start(layout, params.pretrain.weights):
            leave_out_frozen_features(layout)
            return
        # Imported here, to save time if there are no weights.
        from pipeline.training.frozen_features import write_frozen_features
        from pipeline.training.start import read_start, write_start

        with timed(START, layout.encoder(START) / "config.json"):
            notes = write_start(params.pretrain, params.view_size, layout, stored_size=params.stored_size)
            echo(f"start: {params.pretrain.encoder} with the weights in {params.pretrain.weights}")
            for note in notes:
                echo(f"start: note: {note}")
            if params.pretrain.freeze != "all":
                leave_out_frozen_features(layout)
            elif start := read_start(params.pretrain, layout):
                count = write_frozen_features(start, params.pretrain, layout)
                views = 1 + params.pretrain.frozen_views
                echo(f"start: features of {views} views of each of {count:,} train images")


if __name__ == "__main__":
    run(app)
