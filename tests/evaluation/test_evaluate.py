"""Evaluation as a whole: what it writes, and what it says where it can't measure."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from pipeline.clustering.run import cluster
from pipeline.config.pretrain import PretrainParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.pixels import load_pixels
from pipeline.encoders.base import Architecture
from pipeline.encoders.registry import build_encoder
from pipeline.evaluation import run as evaluation
from pipeline.evaluation.features import features_of, load_encoder, load_encoder_from_elsewhere
from pipeline.evaluation.lbfgs import STRENGTHS
from pipeline.evaluation.linear_probe import LinearProbe, Protocol
from pipeline.evaluation.registry import PROTOCOLS
from pipeline.evaluation.run import Labels, evaluate
from pipeline.evaluation.sgd import FACTORS
from pipeline.evaluation.wording import accuracies_in_words
from pipeline.ingest.run import ingest
from pipeline.runtime.errors import UserError
from pipeline.storage.files import read_json, write_json
from pipeline.storage.schema import EvaluationMetrics, Layout
from pipeline.training import run as training
from support import TINY_PRETRAIN, params_with

pytestmark = pytest.mark.slow

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


def evaluated(layout: Layout, arm: str = "chosen", **section: Any) -> EvaluationMetrics:
    return evaluate(params_with(evaluate=section).evaluate, arm, 0, layout)


def test_the_figures_are_those_of_the_predictions(prepare: Prepare) -> None:
    layout = prepare()
    metrics = evaluated(layout)
    folder = layout.evaluation("chosen")
    assert read_json(folder / "metrics.json") == metrics
    predictions = pq.read_table(folder / "predictions.parquet").to_pandas()
    assert metrics["top1"] is not None
    assert metrics["top1"] == (predictions["label"] == predictions["predicted"]).mean()
    assert metrics["top1_low"] is not None
    assert metrics["top1_high"] is not None
    assert metrics["top1_low"] < metrics["top1"] < metrics["top1_high"]
    assert metrics["top5"] is None, "five guesses name both classes"
    assert metrics["baselines"] == {"chance_top1": 0.5, "majority_top1": 0.0, "reachable_top1": 1.0}
    assert (metrics["train_images"], metrics["test_images"], metrics["classes"]) == (18, 6, 2)
    per_class = pd.read_csv(folder / "per_class.csv").set_index("label")
    for label in ("cat", "dog"):
        rows = predictions[predictions["label"] == label]
        output = predictions[predictions["predicted"] == label]
        if len(rows):
            assert per_class.loc[label, "recall"] == (rows["predicted"] == label).mean()
        if len(output):
            assert per_class.loc[label, "precision"] == (output["label"] == label).mean()
    assert evaluated(layout) == metrics


def test_unlabelled_rows_are_left_out(prepare: Prepare) -> None:
    labels = ["" if n in (0, 3) else ["cat", "dog"][n // 2 % 2] for n in range(24)]
    metrics = evaluated(prepare(label=labels))
    assert (metrics["train_images"], metrics["test_images"]) == (17, 5)


def test_a_label_that_train_lacks_counts_as_wrong(prepare: Prepare) -> None:
    labels = ["new" if n % 4 == 3 else ["cat", "dog"][n // 2 % 2] for n in range(24)]
    metrics = evaluated(prepare(label=labels))
    assert (metrics["top1"], metrics["knn_top1"]) == (0.0, 0.0)
    assert metrics["baselines"] == dict.fromkeys(["chance_top1", "majority_top1", "reachable_top1"], 0.0)


def test_five_guesses_of_six_classes_may_be_wrong(prepare: Prepare) -> None:
    metrics = evaluated(prepare(label=["abcdef"[n // 4] for n in range(24)]))
    assert metrics["top1"] is not None
    assert metrics["top5"] is not None
    assert metrics["top1"] <= metrics["top5"] <= 1.0


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([""] * 24, "No train image has a label, so accuracy cannot be measured."),
        (["cat"] * 24, "All labelled train images have the same label, so there is nothing to classify."),
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


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_protocol_sees_test(prepare: Prepare, monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    layout, fit, read = prepare(), PROTOCOLS[protocol], Labels.of
    probes: list[LinearProbe] = []

    def kept(*given: Any, **options: Any) -> LinearProbe:
        probes.append(fit(*given, **options))
        return probes[-1]

    def with_other_test_labels(split: ImageSplit) -> Labels:
        rows = read(split)
        swapped = [{"cat": "dog", "dog": "cat"}[str(label)] for label in rows.labels]
        return rows if split.name == "train" else Labels(rows.ids, [*swapped])

    replacement: Protocol = kept
    monkeypatch.setitem(PROTOCOLS, protocol, replacement)
    before = evaluated(layout, protocol=protocol, label_fractions=[0.3])
    monkeypatch.setattr(Labels, "of", with_other_test_labels)
    after = evaluated(layout, protocol=protocol, label_fractions=[0.3])
    assert before["top1"] is not None
    assert after["top1"] is not None
    assert before["top1"] + after["top1"] == pytest.approx(1)
    for one, other in zip(probes[:2], probes[2:], strict=True):
        # The encoder has more features than train has images.
        assert len(one.std_D.unique()) == 1
        assert torch.equal(one.weights_DC, other.weights_DC)
        assert torch.equal(one.bias_C, other.bias_C)


def test_each_protocol_tells_what_it_chose(prepare: Prepare) -> None:
    layout = prepare()
    by_lbfgs, by_sgd = evaluated(layout), evaluated(layout, protocol="sgd")
    assert (by_lbfgs["protocol"], by_sgd["protocol"]) == ("lbfgs", "sgd")
    assert (by_lbfgs["learning_rate"], by_sgd["regularisation"]) == (None, None)
    assert by_lbfgs["regularisation"] in STRENGTHS
    assert by_sgd["learning_rate"] in [0.3 * factor for factor in FACTORS]
    assert evaluated(layout, protocol="sgd") == by_sgd


def test_fewer_labels_are_measured_beside_all(prepare: Prepare) -> None:
    layout = prepare()
    whole, parts = evaluated(layout), evaluated(layout, label_fractions=[0.01, 0.5])
    assert whole["top1_at"] == {}
    assert {key: part["train_images"] for key, part in parts["top1_at"].items()} == {"0.01": 2, "0.5": 9}
    for part in parts["top1_at"].values():
        assert part["top1_low"] < part["top1"] + 1e-9
        assert part["top1"] < part["top1_high"] + 1e-9
    assert parts | {"top1_at": {}} == whole
    assert read_json(layout.evaluation("chosen") / "metrics.json") == parts


def test_an_encoder_from_elsewhere_takes_the_place_of_the_chosen_arm_s(
    prepare: Prepare, tmp_path: Path
) -> None:
    layout = prepare()
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(layout.encoder("chosen"), layout.encoder("instance"))
    own = evaluated(layout)
    shutil.move(layout.encoder("chosen"), elsewhere)
    transferred = evaluated(layout, transfer_from=str(elsewhere))
    assert transferred == own | {"encoder": str(elsewhere)}
    # The references keep theirs.
    assert evaluated(layout, "instance", transfer_from=str(tmp_path / "nowhere")) == own


def test_an_encoder_of_another_size_and_network_is_evaluated_as_it_was_trained(
    prepare: Prepare, tmp_path: Path
) -> None:
    layout, other = prepare(), tmp_path / "other"
    other.mkdir()
    encoder = build_encoder(Architecture("resnet34", 2, 20))
    save_file(encoder.backbone.state_dict(), other / "encoder.safetensors")
    config = {
        "encoder": "resnet34",
        "stem_stride": 2,
        "image_size": 20,
        "mean": [0.4] * 3,
        "std": [0.3] * 3,
    }
    write_json(other / "config.json", config)
    assert load_encoder_from_elsewhere(str(other), torch.device("cpu")).image_size == 20
    metrics = evaluated(layout, transfer_from=str(other))
    assert metrics["top1"] is not None


def test_an_encoder_from_elsewhere_that_does_not_fit_is_reported(prepare: Prepare, tmp_path: Path) -> None:
    layout, other = prepare(), tmp_path / "other"

    def sentence() -> str:
        with pytest.raises(UserError) as raised:
            evaluated(layout, transfer_from=str(other))
        assert "\n" not in str(raised.value)
        return str(raised.value)

    assert f"evaluate.transfer_from={other} holds no config.json: name the folder" in sentence()
    shutil.copytree(layout.encoder("chosen"), other)
    config = read_json(other / "config.json")
    for change, why in (
        ({"encoder": "resnet50"}, "so its weights are of another network"),
        ({"encoder": "resnet9999"}, "not 'resnet9999'"),
        ({"encoder": "vit_b_16"}, "not 'vit_b_16'"),
    ):
        write_json(other / "config.json", config | change)
        assert f"evaluate.transfer_from={other} cannot be rebuilt (" in sentence()
        assert why in sentence()
    write_json(other / "config.json", {key: config[key] for key in config if key != "mean"})
    assert "cannot be rebuilt (config.json: mean is missing)" in sentence()
    (other / "encoder.safetensors").unlink()
    assert "holds no encoder.safetensors" in sentence()


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
    trained, store = (
        load_encoder(layout.encoder("chosen"), cpu),
        load_pixels(ImageSplit(layout.images, "train")),
    )
    whole = features_of(trained, store, cpu)
    monkeypatch.setattr("pipeline.evaluation.features.BATCH", 5)
    # Whitening by 18 images blows up the rounding of the directions in which they hardly differ.
    torch.testing.assert_close(features_of(trained, store, cpu), whole, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_encoder_whose_features_are_not_finite_is_refused(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    layout, compute = prepare(), features_of

    def broken(*given: Any) -> torch.Tensor:
        features = compute(*given).clone()
        features[[1, 4], 2] = value
        return features

    monkeypatch.setattr(evaluation, "features_of", broken)
    with pytest.raises(UserError, match=r"chosen gives features that are not finite for 2 of 18 images"):
        evaluated(layout)
    assert not layout.evaluation("chosen").exists()


def test_the_same_features_for_every_image_are_measured_as_chance(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, compute = prepare(), features_of
    monkeypatch.setattr(evaluation, "features_of", lambda *given: torch.full_like(compute(*given), 0.3))
    metrics = evaluated(layout)
    majority = pq.read_table(layout.evaluation("chosen") / "predictions.parquet")["predicted"].unique()
    assert len(majority) == 1
    assert metrics["top1"] is not None


def test_it_tells_on_how_many_images_the_regularisation_was_chosen(prepare: Prepare) -> None:
    metrics = evaluated(prepare(), label_fractions=[0.01])
    assert metrics["selection_rows"] == 18
    assert "(regularisation chosen on 18 train images that were not fitted)" in accuracies_in_words(metrics)
    assert metrics["top1_at"]["0.01"]["selection_rows"] == 0, "one image of each class"


def test_a_damaged_encoder_is_reported(prepare: Prepare) -> None:
    layout = prepare()
    weights = layout.encoder("chosen") / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(
        UserError, match=r"chosen is damaged \(encoder\.safetensors: .* `clinfonce repair .*chosen`"
    ):
        evaluated(layout)
    weights.unlink()
    with pytest.raises(UserError, match=r"encoder\.safetensors is missing: run `dvc repro`"):
        evaluated(layout)
