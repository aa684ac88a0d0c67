"""Stage 3: images and clusters -> an encoder, in data/encoders/<arm>."""

import typer

from pipeline.errors import told_in_a_sentence
from pipeline.params import load_params
from pipeline.schema import Layout
from pipeline.training.run import pretrain

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(arm: str = typer.Argument(help="chosen, instance or label")) -> None:
    """Pretrains the arm's encoder; killed and started again, it goes on where it was."""
    with told_in_a_sentence():
        params = load_params()
        pretrain(params.pretrain, arm, params.ingest.image_size, params.seed, Layout())


if __name__ == "__main__":
    app()
