"""Evaluation as a whole: what it writes, and what it says where it can't measure."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.clustering.run import cluster
from pipeline.errors import UserError
from pipeline.evaluation.features import features_of, load_encoder
from pipeline.evaluation.run import evaluate
from pipeline.files import read_json
from pipeline.ingest.run import ingest
from pipeline.schema import EvaluationMetrics, Layout
from pipeline.store import load_pixels
from pipeline.training import run as training
from pipeline.training.params import PretrainParams
from support import TINY_PRETRAIN, params_with

Prepare = Callable[..., Layout]


@pytest.fixture
def prepare(manifest: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    monkeypatch.setenv("CLINFONCE_STATE_DIR", str(tmp_path / "state"))

    def run(method: str = "instance", **columns: list[object]) -> Layout:
        layout = Layout(tmp_path)
        path = manifest(24, **columns)
        ingest(params_with(ingest={"source": "manifest", "path": str(path)}).ingest, 0, layout)
        section = {"method": method, "kmeans": {"clusters": 3, "min_points": 1}}
        cluster(params_with(cluster=section).cluster, "chosen", 16, 0, layout)
        training.pretrain(PretrainParams.model_validate(TINY_PRETRAIN), "chosen", 12, 0, layout)
        return layout

    return run


def evaluated(layout: Layout) -> EvaluationMetrics:
    return evaluate(params_with().evaluate, "chosen", 0, layout)


def test_the_figures_are_those_of_the_predictions(prepare: Prepare) -> None:
    layout = prepare()
    metrics = evaluated(layout)
    folder = layout.evaluation("chosen")
    assert read_json(folder / "metrics.json") == metrics
    predictions = pq.read_table(folder / "predictions.parquet").to_pandas()
    assert metrics["top1"] == (predictions["label"] == predictions["predicted"]).mean()
    assert metrics["top1_low"] < metrics["top1"] < metrics["top1_high"]
    assert metrics["top5"] == 1.0  # two classes
    assert (metrics["train_images"], metrics["test_images"], metrics["classes"]) == (18, 6, 2)
    per_class = pd.read_csv(folder / "per_class.csv").set_index("label")
    for label in ("cat", "dog"):
        rows = predictions[predictions["label"] == label]
        told = predictions[predictions["predicted"] == label]
        if len(rows):
            assert per_class.loc[label, "recall"] == (rows["predicted"] == label).mean()
        if len(told):
            assert per_class.loc[label, "precision"] == (told["label"] == label).mean()
    assert evaluated(layout) == metrics


def test_unlabelled_rows_are_left_out(prepare: Prepare) -> None:
    labels = ["" if n in (0, 3) else ["cat", "dog"][n // 2 % 2] for n in range(24)]
    metrics = evaluated(prepare(label=labels))
    assert (metrics["train_images"], metrics["test_images"]) == (17, 5)


def test_a_label_that_train_lacks_counts_as_wrong(prepare: Prepare) -> None:
    labels = ["new" if n % 4 == 3 else ["cat", "dog"][n // 2 % 2] for n in range(24)]
    metrics = evaluated(prepare(label=labels))
    assert (metrics["top1"], metrics["top5"], metrics["knn_top1"]) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([""] * 24, "No train image has a label, so accuracy cannot be measured."),
        (["cat"] * 24, "All labelled train images have the same label, so there is nothing to tell apart."),
        (["" if n % 4 == 3 else "cat" for n in range(24)], "No test image has a label"),
    ],
)
def test_where_nothing_can_be_measured_it_says_why(
    prepare: Prepare, labels: list[str], sentence: str
) -> None:
    metrics = evaluated(prepare(label=labels))
    assert metrics["top1"] is None
    assert metrics["reason"] is not None
    assert sentence in metrics["reason"]


def test_without_test_images(prepare: Prepare) -> None:
    metrics = evaluated(prepare(split=["train"] * 24))
    assert metrics["reason"] == "The data has no test image, so there is nothing to evaluate on."


def test_remade_clusters_meet_the_labels_here(prepare: Prepare) -> None:
    layout = prepare("kmeans")
    evaluated(layout)
    before = pd.read_csv(layout.encoder("chosen") / "trajectory.csv")
    rows = pd.read_csv(layout.evaluation("chosen") / "trajectory.csv")
    pd.testing.assert_frame_equal(rows[before.columns], before)
    assert rows["mutual_information_bits"].between(0, 1).all()
    entropy = rows["mutual_information_bits"] + rows["conditional_entropy_bits"]
    pd.testing.assert_series_equal(entropy, rows["cluster_entropy_bits"], check_names=False)


def test_features_do_not_depend_on_the_batch(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, cpu = prepare(), torch.device("cpu")
    trained, store = load_encoder(layout.encoder("chosen"), cpu), load_pixels(layout.images, "train")
    whole = features_of(trained, store, cpu)
    monkeypatch.setattr("pipeline.evaluation.features.BATCH", 5)
    torch.testing.assert_close(features_of(trained, store, cpu), whole, atol=1e-5, rtol=1e-4)


def test_a_damaged_encoder_is_told(prepare: Prepare) -> None:
    layout = prepare()
    weights = layout.encoder("chosen") / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"the encoder in .* is damaged .*: delete it and run `dvc repro`"):
        evaluated(layout)
    weights.unlink()
    with pytest.raises(UserError, match="does not exist: run `dvc repro`"):
        evaluated(layout)
