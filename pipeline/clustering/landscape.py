"""The statistics of every available clustering, computed before any training."""

from typing import Any

from pipeline.clustering.describe import describe
from pipeline.clustering.postprocess import apply_policies
from pipeline.clustering.registry import METHODS
from pipeline.config.cluster import ClusterParams
from pipeline.dataset.dataset import ImageSplit

NOT_A_METRIC = ("findings", "size_quantiles", "notes", "made_of")


def landscape(
    train: ImageSplit, params: ClusterParams, batch_size: int, seed: int
) -> tuple[list[str], list[dict[str, Any]]]:
    """Returns column names, and one row per method and setting.

    The settings are each k, level, column and number of tags or topics; label and instance have one row each.
    K-means is left out: its initial clusters say little, and later ones need the encoder.
    """
    rows = []
    for name, method in METHODS.items():
        for choice in method.choices(train, params.block(name)):
            clusters = method.fit(train, choice.params, seed)
            # Without distances between clusters, small ones can't join others.
            policies = (
                params if clusters.common_values is not None else params.model_copy(update={"small": "keep"})
            )
            postprocessed = apply_policies(clusters, policies)
            statistics = describe(name, train, clusters, postprocessed, batch_size, seed)
            metrics = {key: value for key, value in statistics.items() if key not in NOT_A_METRIC}
            row = {"method": name, "setting": choice.setting, "nested": choice.nested}
            rows.append(row | {"name": choice.name or f"{name}: {choice.setting}"} | metrics)
    return list(dict.fromkeys(key for row in rows for key in row)), rows
