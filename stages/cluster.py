"""Stage 2: train images -> clusters and their statistics, in data/clusters/<arm>."""

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
from pipeline.runtime.console import echo, run
from pipeline.runtime.errors import exit_on_user_error
from pipeline.storage.placeholders import leave_out_clusters
from pipeline.storage.schema import CHOSEN, AdviceRecord, Layout, TrainedArm
from pipeline.storage.timings import timed
from pipeline.storage.validation import read_json

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(arm: Annotated[TrainedArm, typer.Argument(help="the arm to cluster the train images for")]) -> None:
    """Clusters the train images: `chosen` by cluster.method, a reference by the method of its name."""
    with exit_on_user_error():
        params = load_params()
        layout = Layout()
        if arm not in (CHOSEN, *params.references):
            leave_out_clusters(layout, arm)
            echo(f"cluster {arm}: not in report.references, left out")
            return
        # Imported here, so that an arm that is left out takes no time.
        from pipeline.clustering.console import messages
        from pipeline.clustering.run import cluster, section_of

        with timed(f"cluster@{arm}", layout.statistics(arm)):
            statistics = cluster(params.cluster, arm, params.pretrain.batch_size, params.seed, layout)
        for line in messages(arm, statistics, section_of(arm, params.cluster).missing):
            echo(line)
        if arm == CHOSEN:
            echo(f"cluster {arm}: advice: {read_json(layout.advice, AdviceRecord)['sentences'][0]}")


if __name__ == "__main__":
    run(app)
