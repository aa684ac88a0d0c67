"""Stage 3: images and clusters -> encoder, in data/encoders/<arm>."""

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
from pipeline.runtime.console import run
from pipeline.runtime.errors import exit_on_user_error
from pipeline.runtime.resources import let_idle_threads_sleep
from pipeline.storage.placeholders import leave_out_encoder
from pipeline.storage.schema import Layout, TrainedArm

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(arm: Annotated[TrainedArm, typer.Argument(help="the arm whose encoder is trained")]) -> None:
    """Pretrains the encoder of an arm; an interrupted training resumes."""
    let_idle_threads_sleep()
    with exit_on_user_error():
        params = load_params()
        if leave_out_encoder(Layout(), arm):
            return
        # Imported here, so that an arm that is left out takes no time.
        from pipeline.training.run import pretrain

        size, stored_size = params.view_size, params.stored_size
        pretrain(params.pretrain, arm, size, params.seed, Layout(), stored_size=stored_size)


if __name__ == "__main__":
    run(app)
