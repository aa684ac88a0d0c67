"""Stage 4: encoder -> linear and nearest-neighbour accuracy, in data/evaluations/<arm>."""

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
from pipeline.runtime.console import echo, run
from pipeline.runtime.errors import exit_on_user_error
from pipeline.runtime.resources import let_idle_threads_sleep
from pipeline.storage.placeholders import leave_out_evaluation
from pipeline.storage.schema import ArmName, Layout
from pipeline.storage.timings import timed

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    arm: Annotated[ArmName, typer.Argument(help="the arm whose encoder is evaluated")],
    executor: Annotated[
        ExecutorName, typer.Option(envvar=EXECUTOR_VARIABLE, help="this machine, or a Ray cluster")
    ] = ExecutorName.LOCAL,
) -> None:
    """Fits a linear probe on frozen features and evaluates it once on the test images."""
    let_idle_threads_sleep()
    with exit_on_user_error():
        params, layout = load_params(), Layout()
        if leave_out_evaluation(layout, arm):
            return
        # Imported here, so that an arm that is left out takes no time.
        from pipeline.evaluation.run import evaluate
        from pipeline.evaluation.wording import accuracies_in_words

        with timed(f"evaluate@{arm}", layout.evaluation(arm) / "metrics.json"):
            metrics = evaluate(params.evaluate, arm, params.seed, layout, executor)
        echo(f"evaluate {arm}: {accuracies_in_words(metrics)}")


if __name__ == "__main__":
    run(app)
