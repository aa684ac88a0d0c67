"""Stage 2: train images -> clusters, and what they tell of the labels, in data/clusters/<arm>."""

import typer

from pipeline.clustering.run import cluster, section_of
from pipeline.clustering.told import told
from pipeline.errors import told_in_a_sentence
from pipeline.params import load_params
from pipeline.schema import Layout
from pipeline.times import timed

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(arm: str = typer.Argument(help="chosen, instance or label")) -> None:
    """Clusters the train images: the arm `chosen` by cluster.method, a reference by its own name."""
    with told_in_a_sentence():
        params = load_params()
        layout = Layout()
        with timed(f"cluster@{arm}", layout.statistics(arm)):
            statistics = cluster(params.cluster, arm, params.pretrain.batch_size, params.seed, layout)
        for line in told(arm, statistics, section_of(arm, params.cluster).missing):
            print(line)


if __name__ == "__main__":
    app()
