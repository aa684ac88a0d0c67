"""Every available clustering, computed before any training: its statistics, and advice on which to choose."""

from dataclasses import dataclass
from typing import Any

from pipeline.advice.candidates import Candidate
from pipeline.clustering.advice import NOT_CANDIDATES, advice, advised_rows, candidate
from pipeline.clustering.describe import describe
from pipeline.clustering.postprocess import apply_policies
from pipeline.clustering.registry import METHODS
from pipeline.config.cluster import ClusterParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.storage.schema import AdviceRecord

NOT_A_METRIC = ("findings", "size_quantiles", "notes", "made_of")


@dataclass(frozen=True)
class Landscape:
    columns: list[str]
    rows: list[dict[str, Any]]
    """One per method and setting."""
    advice: AdviceRecord


def landscape(train: ImageSplit, params: ClusterParams, batch_size: int, seed: int) -> Landscape:
    """Describes all clusterings that could be chosen.

    The settings are each k, level, column and number of tags or topics; label and instance have one row each.
    K-means is left out: its initial clusters say little, and later ones need the encoder.
    """
    rows: list[dict[str, Any]] = []
    candidates: list[Candidate] = []
    advised = advised_rows(train, seed)
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
            if name not in NOT_CANDIDATES:
                candidates.append(candidate(name, choice, params, clusters.labels_N[advised]))
    return Landscape(
        columns=list(dict.fromkeys(key for row in rows for key in row)),
        rows=rows,
        advice=advice(train, params, candidates, advised, batch_size, seed),
    )
