"""The metrics of an encoder's evaluation, as a section and metadata of its model card."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.evaluation.wording import UNREACHABLE, chosen_on, labels_in_words
from pipeline.objectives.traits import reads_clusters
from pipeline.runtime.errors import UserError
from pipeline.runtime.sanitize import for_markdown
from pipeline.storage.schema import (
    ENCODER_CONFIG,
    ClusterStatistics,
    EncoderRecord,
    EvaluationMetrics,
    Layout,
)
from pipeline.storage.validation import read_json
from pipeline.training.model_card import fill_markdown

PROTOCOLS = {
    "lbfgs": "logistic regression on frozen features",
    "sgd": "a linear layer on frozen features, trained by SGD",
}


@dataclass(frozen=True)
class Figures:
    section: str
    """The section in Markdown."""
    metadata: str
    """Lines of YAML: the metrics in the Hub's form, `model-index`."""
    missing: str | None
    """Why there are no metrics, as a sentence."""


def figures_of(arm: str, weights_sha256: str, layout: Layout) -> Figures:
    """Returns the metrics of the arm's evaluation, if it evaluated exactly these weights."""
    path = layout.evaluation(arm) / "metrics.json"
    try:
        metrics = read_json(path, EvaluationMetrics)
    except UserError as error:
        return _none(str(error))
    if metrics["reason"]:
        return _none(metrics["reason"])
    if metrics["weights_sha256"] != weights_sha256:
        return _none(f"{path} holds the figures of another encoder: run `dvc repro` to evaluate this one")
    return Figures(_section(metrics, _clusters_read(arm, layout)), _metadata(arm, metrics), None)


def _none(why: str) -> Figures:
    return Figures(f"None were measured. {for_markdown(why)}", "", why)


def _section(metrics: EvaluationMetrics, clusters: ClusterStatistics | None) -> str:
    protocol = metrics["protocol"]
    return fill_markdown(
        "measured.md",
        "pipeline.inference",
        metrics=metrics,
        fitted=PROTOCOLS.get(protocol, for_markdown(protocol)),
        chosen_on=chosen_on(protocol, metrics["selection_rows"] or 0),
        rows=list(_rows(metrics)),
        clusters=clusters and {"notes": [], **clusters},
    ).rstrip()


def _rows(metrics: EvaluationMetrics) -> Iterator[tuple[str, float | None, float | None, float | None]]:
    """Yields the name, value and interval bounds of each metric."""
    yield "linear top-1", metrics["top1"], metrics["top1_low"], metrics["top1_high"]
    yield "linear top-5", metrics["top5"], None, None
    yield "nearest neighbours", metrics["knn_top1"], None, None
    for share, few in metrics["top1_at"].items():
        labels = labels_in_words(share, few, metrics["train_images"])
        yield f"linear top-1 with {labels}", few["top1"], few["top1_low"], few["top1_high"]
    baselines = metrics["baselines"]
    if baselines is None:
        return
    yield "majority share: always naming the most frequent label", baselines["majority_top1"], None, None
    yield "chance level: guessing evenly among the labels", baselines["chance_top1"], None, None
    if baselines["reachable_top1"] < 1:
        yield f"the most that can be reached: {UNREACHABLE}", baselines["reachable_top1"], None, None


def _clusters_read(arm: str, layout: Layout) -> ClusterStatistics | None:
    """Returns the statistics of the clusters that the training read; None if it read none."""
    try:
        statistics = read_json(layout.statistics(arm), ClusterStatistics)
        config: Mapping[str, Any] = read_json(layout.encoder(arm) / ENCODER_CONFIG, EncoderRecord)
    except UserError:
        return None
    pretrain = config.get("pretrain", {})
    used = reads_clusters(pretrain.get("objective"), pretrain.get("sampler"))
    return statistics if used else None


def _metadata(arm: str, metrics: EvaluationMetrics) -> str:
    named = {
        "accuracy": ("linear top-1", metrics["top1"]),
        "top_5_accuracy": ("linear top-5", metrics["top5"]),
        "knn_accuracy": ("nearest neighbours", metrics["knn_top1"]),
    }
    index = [
        {
            "name": f"clinfonce {arm}",
            "results": [
                {
                    "task": {"type": "image-classification", "name": "Linear evaluation"},
                    "dataset": {"type": "own", "name": "Test images of the project"},
                    "metrics": [
                        {"type": kind, "name": name, "value": value}
                        for kind, (name, value) in named.items()
                        if value is not None
                    ],
                }
            ],
        }
    ]
    # JSON is YAML.
    return f"model-index: {json.dumps(index)}\n"
