"""Stage 4: encoder and labels -> accuracy of linear and nearest-neighbour classification."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from pipeline.config.evaluate import EvaluateParams
from pipeline.dataset.dataset import ImageDataset, ImageSplit
from pipeline.dataset.pixels import load_pixels
from pipeline.evaluation.baselines import baselines
from pipeline.evaluation.embedding_map import write_map
from pipeline.evaluation.features import (
    TrainedEncoder,
    check_features,
    features_of,
    load_encoder,
    load_encoder_from_elsewhere,
)
from pipeline.evaluation.knn import knn_predict
from pipeline.evaluation.linear_probe import IMAGES_PER_FEATURE, LinearProbe, labelled_mask
from pipeline.evaluation.parallel_features import features_by_executor
from pipeline.evaluation.registry import PROTOCOLS
from pipeline.evaluation.trajectory import trajectory_with_information
from pipeline.executors.select import ExecutorName
from pipeline.runtime.device import pick_device
from pipeline.runtime.seeding import derived_seed
from pipeline.statistics.intervals import Interval, wilson_interval
from pipeline.storage.checksums import write_checksummed
from pipeline.storage.files import (
    resolve_user_path,
    sha256_of_file,
    write_csv,
    write_json,
)
from pipeline.storage.outputs import EVALUATION_FILES, replaced_output
from pipeline.storage.schema import (
    CHOSEN,
    ENCODER_WEIGHTS,
    INFORMED_TRAJECTORY_COLUMNS,
    PER_CLASS_COLUMNS,
    PREDICTIONS_SCHEMA,
    EvaluationMetrics,
    FewerLabels,
    Layout,
)


@dataclass(frozen=True)
class Labels:
    """Labels of a split; None for unlabelled images."""

    ids: list[str]
    labels: list[str | None]

    @classmethod
    def of(cls, split: ImageSplit) -> "Labels":
        return cls(split.ids.to_pylist(), split.labels.to_pylist())

    @property
    def known(self) -> list[int]:
        return [position for position, label in enumerate(self.labels) if label is not None]


def evaluate(
    params: EvaluateParams, arm: str, seed: int, layout: Layout, executor: ExecutorName = ExecutorName.LOCAL
) -> EvaluationMetrics:
    """Writes `layout.evaluation(arm)` and returns its metrics.

    Without labels, the metrics are null and `reason` says why; the report can still show the clusters and the
    training. Raises `UserError` for features that are not finite.
    """
    if arm != CHOSEN:
        # References keep their own encoders, for the comparison with the chosen arm.
        params = params.model_copy(update={"transfer_from": None})
    dataset = ImageDataset(layout.images)
    train, test = Labels.of(dataset.train), Labels.of(dataset.test)
    reason = _reason_not_measured(train, test)
    trained = _encoder(params, arm, layout)
    train_ND, test_ND = _features(trained, _encoder_folder(params, arm, layout), dataset, executor)
    for features_ND in (train_ND, test_ND):
        check_features(features_ND, f"the encoder in {_encoder_folder(params, arm, layout)}")
    with replaced_output(layout.evaluation(arm), EVALUATION_FILES) as folder:
        write_map(folder, train.ids, train_ND, test.ids, test_ND, seed)
        if reason is None:
            weights = sha256_of_file(_encoder_folder(params, arm, layout) / ENCODER_WEIGHTS)
            labelled = train, train_ND[train.known], test, test_ND[test.known]
            own_deviations = _has_own_deviations(trained, len(train.ids))
            metrics = _measure(params, seed, *labelled, own_deviations, weights, folder)
        else:
            metrics = _nothing_measured(params, train, test, reason)
        write_json(folder / "metrics.json", metrics)
        if (layout.encoder(arm) / "trajectory.csv").exists():
            rows = trajectory_with_information(layout.encoder(arm), train.labels)
            write_csv(folder / "trajectory.csv", INFORMED_TRAJECTORY_COLUMNS, rows)
    return metrics


def _reason_not_measured(train: Labels, test: Labels) -> str | None:
    for split, rows in (("train", train), ("test", test)):
        if not rows.ids:
            return f"The data has no {split} image, so there is nothing to evaluate on."
        if not rows.known:
            return f"No {split} image has a label, so accuracy cannot be measured."
    if len({train.labels[position] for position in train.known}) < 2:
        return "All labelled train images have the same label, so there is nothing to classify."
    return None


def _encoder_folder(params: EvaluateParams, arm: str, layout: Layout) -> Path:
    return layout.encoder(arm) if params.transfer_from is None else resolve_user_path(params.transfer_from)


def _encoder(params: EvaluateParams, arm: str, layout: Layout) -> TrainedEncoder:
    if params.transfer_from is None:
        return load_encoder(layout.encoder(arm), pick_device())
    return load_encoder_from_elsewhere(params.transfer_from, pick_device())


def _features(
    trained: TrainedEncoder, folder: Path, dataset: ImageDataset, executor: ExecutorName
) -> tuple[Tensor, Tensor]:
    """Computes the features of all train and all test images, in order; `folder` is the encoder's."""
    if executor is not ExecutorName.LOCAL:
        return features_by_executor(folder, dataset, executor)
    train_ND, test_ND = (
        features_of(trained, load_pixels(split), pick_device()) for split in (dataset.train, dataset.test)
    )
    return train_ND, test_ND


def _has_own_deviations(trained: TrainedEncoder, train_images: int) -> bool:
    """Returns whether the encoder was trained on enough images, see `linear_probe.standardisation`.

    If that number is unknown, as of the reference `start`, it is the `train_images` here: the arms that are
    compared with it were trained on these, and equal features must have equal accuracies.
    """
    images = train_images if trained.train_images is None else trained.train_images
    return images >= IMAGES_PER_FEATURE * trained.encoder.feature_dim


def _measure(
    params: EvaluateParams,
    seed: int,
    train: Labels,
    train_ND: Tensor,
    test: Labels,
    test_ND: Tensor,
    own_deviations: bool,
    weights_sha256: str,
    folder: Path,
) -> EvaluationMetrics:
    """Measures the accuracies; the features are those of the labelled images only."""
    device = train_ND.device
    names = sorted({str(train.labels[position]) for position in train.known})
    number_of = {name: number for number, name in enumerate(names)}
    classes_N = torch.tensor([number_of[str(train.labels[p])] for p in train.known], device=device)
    # -1 for labels that train lacks, so that no prediction is correct.
    truth_M = torch.tensor([number_of.get(str(test.labels[p]), -1) for p in test.known], device=device)

    protocol, selection = PROTOCOLS[params.protocol], derived_seed(seed, "evaluate", "selection")

    def fit(rows_N: Tensor) -> LinearProbe:
        rows = train_ND[rows_N], classes_N[rows_N], len(names)
        return protocol(*rows, params, selection, own_deviations=own_deviations)

    probe = fit(torch.ones_like(classes_N, dtype=torch.bool))
    logits_MC = probe.logits(test_ND)
    predicted_M = logits_MC.argmax(dim=1)
    by_neighbours_M = knn_predict(train_ND, classes_N, test_ND, len(names), params.neighbours)

    top1 = _top1(predicted_M, truth_M)
    truth = [str(test.labels[position]) for position in test.known]
    predictions = [names[number] for number in predicted_M.tolist()]
    _write_predictions(folder, [test.ids[position] for position in test.known], truth, predictions)
    train_counts = Counter(str(train.labels[position]) for position in train.known)
    write_csv(folder / "per_class.csv", PER_CLASS_COLUMNS, _per_class(truth, predictions, train_counts))
    return {
        "protocol": params.protocol,
        "top1": top1.estimate,
        "top5": _top5(logits_MC, truth_M),
        "knn_top1": float((by_neighbours_M == truth_M).double().mean()),
        "top1_low": top1.low,
        "top1_high": top1.high,
        "baselines": baselines([str(train.labels[position]) for position in train.known], truth),
        "classes": len(names),
        "train_images": len(train_ND),
        "test_images": len(test_ND),
        "regularisation": probe.strength,
        "learning_rate": probe.learning_rate,
        "selection_top1": probe.selection_top1,
        "selection_rows": probe.selection_rows,
        "top1_at": _with_fewer_labels(params.label_fractions, seed, fit, classes_N, test_ND, truth_M),
        "encoder": params.transfer_from,
        "weights_sha256": weights_sha256,
        "reason": None,
    }


def _with_fewer_labels(
    fractions: list[float],
    seed: int,
    fit: Callable[[Tensor], LinearProbe],
    classes_N: Tensor,
    test_ND: Tensor,
    truth_M: Tensor,
) -> dict[str, FewerLabels]:
    """Returns accuracies with each of `fractions` of the train rows; `fit` takes a mask of rows (N,)."""
    found: dict[str, FewerLabels] = {}
    for fraction in fractions:
        rows_N = labelled_mask(classes_N, fraction, derived_seed(seed, "evaluate", "labels"))
        probe = fit(rows_N)
        top1 = _top1(probe.logits(test_ND).argmax(dim=1), truth_M)
        found[str(fraction)] = {
            "top1": top1.estimate,
            "top1_low": top1.low,
            "top1_high": top1.high,
            "train_images": int(rows_N.sum()),
            "selection_rows": probe.selection_rows,
        }
    return found


def _top1(predicted_M: Tensor, truth_M: Tensor) -> Interval:
    """Returns the share of correct predictions, and its 95 % interval."""
    return wilson_interval(int((predicted_M == truth_M).sum()), len(truth_M))


def _top5(logits_MC: Tensor, truth_M: Tensor) -> float | None:
    """Returns the top-5 accuracy; None for five classes or fewer."""
    if logits_MC.shape[1] <= 5:
        return None
    hits_MK = logits_MC.topk(5, dim=1).indices == truth_M[:, None]
    return float(hits_MK.any(dim=1).double().mean())


def _nothing_measured(params: EvaluateParams, train: Labels, test: Labels, reason: str) -> EvaluationMetrics:
    return {
        "protocol": params.protocol,
        "top1": None,
        "top5": None,
        "knn_top1": None,
        "top1_low": None,
        "top1_high": None,
        "baselines": None,
        "classes": len({label for label in train.labels if label is not None}),
        "train_images": len(train.known),
        "test_images": len(test.known),
        "regularisation": None,
        "learning_rate": None,
        "selection_top1": None,
        "selection_rows": None,
        "top1_at": {},
        "encoder": params.transfer_from,
        "weights_sha256": None,
        "reason": reason,
    }


def _write_predictions(folder: Path, ids: list[str], truth: list[str], predictions: list[str]) -> None:
    columns = {"id": ids, "label": truth, "predicted": predictions}
    write_checksummed(pa.table(columns, schema=PREDICTIONS_SCHEMA), folder / "predictions.parquet")


def _per_class(truth: list[str], predictions: list[str], train_counts: Counter[str]) -> list[dict[str, Any]]:
    hits = Counter(label for label, predicted in zip(truth, predictions, strict=True) if label == predicted)
    in_test, predicted = Counter(truth), Counter(predictions)
    return [
        {
            "label": label,
            "train_images": train_counts[label],
            "test_images": in_test[label],
            "recall": hits[label] / in_test[label] if in_test[label] else None,
            "precision": hits[label] / predicted[label] if predicted[label] else None,
        }
        for label in sorted(in_test | train_counts)
    ]
