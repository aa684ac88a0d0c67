"""Stage 4: an encoder -> linear and nearest-neighbour accuracy, in data/evaluations/<arm>."""

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
from pipeline.machine import let_idle_threads_sleep
from pipeline.params import load_params
from pipeline.references import leave_out_evaluation
from pipeline.schema import ArmName, Layout
from pipeline.times import timed

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    arm: Annotated[ArmName, typer.Argument(help="whose encoder")],
    engine: Annotated[
        EngineName, typer.Option(envvar=ENGINE_VARIABLE, help="who computes the features")
    ] = EngineName.LOCAL,
) -> None:
    """Fits a linear probe on the arm's frozen features and measures it once on test."""
    let_idle_threads_sleep()
    with told_in_a_sentence():
        params, layout = load_params(), Layout()
        if leave_out_evaluation(layout, arm):
            return
        # Imported here: an arm that is left out costs no time.
        from pipeline.evaluation.run import evaluate
        from pipeline.evaluation.wording import accuracies_in_words

        with timed(f"evaluate@{arm}", layout.evaluation(arm) / "metrics.json"):
            metrics = evaluate(params.evaluate, arm, params.seed, layout, engine)
        say(f"evaluate {arm}: {accuracies_in_words(metrics)}")


if __name__ == "__main__":
    run(app)
