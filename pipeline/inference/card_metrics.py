"""What evaluation measured of an encoder, as a section and metadata of its model card."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config.objectives import reads_clusters
from pipeline.evaluation.wording import UNREACHABLE, chosen_on, labels_in_words
from pipeline.runtime.errors import UserError
from pipeline.runtime.sanitize import for_markdown
from pipeline.storage.schema import (
    ENCODER_CONFIG,
    Baselines,
    ClusterStatistics,
    EncoderRecord,
    EvaluationMetrics,
    Layout,
)
from pipeline.storage.validation import read_json

PROTOCOLS = {
    "lbfgs": "logistic regression on frozen features",
    "sgd": "a linear layer on frozen features, trained by SGD",
}


@dataclass(frozen=True)
class Figures:
    section: str
    """Markdown."""
    metadata: str
    """Lines of YAML: the figures in the Hub's form, `model-index`."""
    missing: str | None
    """Why there are none, as a sentence."""


def figures_of(arm: str, weights_sha256: str, layout: Layout) -> Figures:
    """The figures of the arm's evaluation, if it measured these weights and no others."""
    path = layout.evaluation(arm) / "metrics.json"
    try:
        metrics = read_json(path, EvaluationMetrics)
    except UserError as error:
        return _none(str(error))
    if metrics["reason"]:
        return _none(metrics["reason"])
    if metrics["weights_sha256"] != weights_sha256:
        return _none(f"{path} holds the figures of another encoder: run `dvc repro` to evaluate this one")
    return Figures(_section(metrics, _clusters(arm, layout)), _metadata(arm, metrics), None)


def _none(why: str) -> Figures:
    return Figures(f"None were measured. {for_markdown(why)}", "", why)


def _section(metrics: EvaluationMetrics, clusters: str) -> str:
    rows = [
        (
            "linear top-1",
            _percent(metrics["top1"]),
            f"{_percent(metrics['top1_low'])} to {_percent(metrics['top1_high'])}",
        ),
        ("linear top-5", _percent(metrics["top5"]), ""),
        ("nearest neighbours", _percent(metrics["knn_top1"]), ""),
    ]
    rows += [
        (
            f"linear top-1 with {labels_in_words(share, few, metrics['train_images'])}",
            _percent(few["top1"]),
            f"{_percent(few['top1_low'])} to {_percent(few['top1_high'])}",
        )
        for share, few in metrics["top1_at"].items()
    ]
    rows = [row for row in rows if row[1]] + _baselines(metrics["baselines"])
    lines = [f"| {name} | {value} | {interval} |" for name, value, interval in rows]
    protocol = metrics["protocol"]
    fitted = PROTOCOLS.get(protocol, for_markdown(protocol))
    how = f"{fitted}, {chosen_on(protocol, metrics['selection_rows'] or 0)}"
    return "\n".join(
        [
            f"On {metrics['test_images']:,} test images, with the labels of {metrics['train_images']:,} "
            f"train images of {metrics['classes']:,} classes: {how}.",
            "",
            "| | accuracy | 95 % interval |",
            "| --- | --: | --- |",
            *lines,
            "",
            "The intervals are over the test images; the luck of one training is not in them." + clusters,
        ]
    )


def _baselines(given: Baselines | None) -> list[tuple[str, str, str]]:
    if given is None:
        return []
    rows = [
        ("majority share: always naming the most frequent label", _percent(given["majority_top1"]), ""),
        ("chance level: guessing evenly among the labels", _percent(given["chance_top1"]), ""),
    ]
    if given["reachable_top1"] < 1:
        rows.append((f"the most that can be reached: {UNREACHABLE}", _percent(given["reachable_top1"]), ""))
    return rows


def _clusters(arm: str, layout: Layout) -> str:
    """A paragraph on the clusters that the training read; empty where it read none."""
    try:
        statistics = read_json(layout.statistics(arm), ClusterStatistics)
        config: Mapping[str, Any] = read_json(layout.encoder(arm) / ENCODER_CONFIG, EncoderRecord)
    except UserError:
        return ""
    pretrain = config.get("pretrain", {})
    if not reads_clusters(pretrain.get("objective"), pretrain.get("sampler")):
        return ""
    how = "; ".join(for_markdown(note) for note in statistics.get("notes", []))
    text = f"Clusters by `{statistics['method']}`{how and f' ({how})'}: {statistics['clusters']:,}"
    information, entropy = statistics["mutual_information_bits"], statistics["conditional_entropy_bits"]
    if information is not None and entropy is not None:
        text += (
            f", with mutual information I(Z;T) = {information:.2f} bits and conditional entropy "
            f"H(Z|T) = {entropy:.2f} bits, Z being an image's cluster and T its label"
        )
    return f"\n\n{text}."


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


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
