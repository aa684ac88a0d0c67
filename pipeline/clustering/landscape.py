"""The statistics of every clustering that one could choose: cheap, before any GPU hour."""

from typing import Any

from pipeline.clustering.base import TrainImages
from pipeline.clustering.describe import describe
from pipeline.clustering.params import ClusterParams
from pipeline.clustering.policies import settle
from pipeline.clustering.registry import METHODS

NOT_A_FIGURE = ("findings", "size_quantiles", "notes", "made_of")


def landscape(
    train: TrainImages, params: ClusterParams, batch_size: int, seed: int
) -> tuple[list[str], list[dict[str, Any]]]:
    """Column names and a row for each method and setting: each k, level, column, number of tags or topics,
    label, instance.

    K-means is left out: its first clusters say little, and its later ones need the encoder.
    """
    rows = []
    for name, method in METHODS.items():
        for setting, choice, nested in method.choices(train, params):
            clusters = method.fit(train, choice, seed)
            if clusters.in_common is None:
                # Nothing says which of these clusters are near, so small ones can't join others.
                choice = choice.model_copy(update={"small": "keep"})
            statistics = describe(name, train, clusters, settle(clusters, choice), batch_size, seed)
            figures = {key: value for key, value in statistics.items() if key not in NOT_A_FIGURE}
            rows.append({"method": name, "setting": setting, "nested": nested} | figures)
    return list(dict.fromkeys(key for row in rows for key in row)), rows
