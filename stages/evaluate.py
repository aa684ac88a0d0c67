"""Stage 4: an encoder -> linear and nearest-neighbour accuracy, in data/evaluations/<arm>."""

from typing import Annotated

import typer

from pipeline.engines.choice import ENGINE_VARIABLE, EngineName
from pipeline.errors import told_in_a_sentence
from pipeline.evaluation.run import evaluate
from pipeline.params import load_params
from pipeline.schema import Layout
from pipeline.times import timed

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    arm: Annotated[str, typer.Argument(help="chosen, instance or label")],
    engine: Annotated[
        EngineName, typer.Option(envvar=ENGINE_VARIABLE, help="who computes the features")
    ] = EngineName.LOCAL,
) -> None:
    """Fits a linear probe on the arm's frozen features and measures it once on test."""
    with told_in_a_sentence():
        params = load_params()
        layout = Layout()
        with timed(f"evaluate@{arm}", layout.evaluation(arm) / "metrics.json"):
            metrics = evaluate(params.evaluate, arm, params.seed, layout, engine)
        accuracy = (
            f"linear top-1 {metrics['top1'] or 0:.1%}, nearest neighbours {metrics['knn_top1'] or 0:.1%}"
        )
        told = metrics["reason"] or accuracy
        print(f"evaluate {arm}: {told}")


if __name__ == "__main__":
    app()
