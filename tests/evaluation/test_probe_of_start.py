"""The reference `start` and the arms that begin from it are measured by one probe."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from pipeline.config.pretrain import PretrainParams
from pipeline.evaluation import run as evaluation
from pipeline.evaluation.linear_probe import LinearProbe
from pipeline.evaluation.registry import PROTOCOLS
from pipeline.evaluation.run import evaluate
from pipeline.ingest.run import ingest
from pipeline.storage.files import read_json, write_json
from pipeline.storage.schema import Layout
from pipeline.training.start import write_start
from support import TINY_PRETRAIN, params_with

pytestmark = pytest.mark.slow

SIZE = 32
TRAIN_IMAGES = 18
FEATURES = 512


@pytest.fixture
def layout(manifest: Callable[..., Path], tmp_path: Path) -> Layout:
    """`start`, and an arm whose training on the images here left every weight as it was."""
    torch.manual_seed(3)
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model("resnet10t", num_classes=3).state_dict(), weights)
    made = Layout(tmp_path / "data")
    ingest(params_with(ingest={"source": "manifest", "path": str(manifest(24))}).ingest, 0, made)
    params = PretrainParams.model_validate(
        TINY_PRETRAIN | {"stem_stride": "auto", "encoder": "timm/resnet10t", "weights": str(weights)}
    )
    write_start(params, SIZE, made)
    shutil.copytree(made.encoder("start"), made.encoder("chosen"))
    record_train_images(made.encoder("chosen"), TRAIN_IMAGES)
    return made


def record_train_images(folder: Path, number: int) -> None:
    config = folder / "config.json"
    write_json(config, read_json(config) | {"train_images": number})


@pytest.fixture
def own_deviations_of(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[set[bool], dict[str, Any]]]:
    """Evaluates an arm; returns which standardisations its probes had, and the metrics."""
    plain = PROTOCOLS["lbfgs"]

    def run(arm: str, **section: Any) -> tuple[set[bool], dict[str, Any]]:
        seen: set[bool] = set()

        def noting(*given: Any, **options: Any) -> LinearProbe:
            seen.add(options["own_deviations"])
            return plain(*given, **options)

        monkeypatch.setitem(PROTOCOLS, "lbfgs", noting)
        metrics = evaluate(params_with(evaluate=section).evaluate, arm, 0, layout)
        return seen, dict(metrics)

    return run


@pytest.mark.parametrize("images_per_feature", [4, TRAIN_IMAGES / FEATURES, TRAIN_IMAGES / FEATURES + 1e-9])
def test_equal_features_have_equal_accuracies(
    layout: Layout,
    own_deviations_of: Callable[..., tuple[set[bool], dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    images_per_feature: float,
) -> None:
    monkeypatch.setattr(evaluation, "IMAGES_PER_FEATURE", images_per_feature)
    (start, of_start), (chosen, of_chosen) = own_deviations_of("start"), own_deviations_of("chosen")
    assert start == chosen == {images_per_feature * FEATURES <= TRAIN_IMAGES}
    for key in ("top1", "knn_top1", "regularisation", "selection_top1", "top1_at"):
        assert of_start[key] == of_chosen[key], key


def test_the_weights_as_they_came_have_the_same_accuracy_by_another_way(
    layout: Layout, own_deviations_of: Callable[..., tuple[set[bool], dict[str, Any]]]
) -> None:
    _, of_start = own_deviations_of("start")
    folder = str(layout.encoder("start"))
    _, transferred = own_deviations_of("chosen", transfer_from=folder)
    assert transferred["top1"] == of_start["top1"]
    assert transferred["regularisation"] == of_start["regularisation"]


def test_an_encoder_that_was_trained_on_many_images_elsewhere_keeps_its_own_number(
    layout: Layout, own_deviations_of: Callable[..., tuple[set[bool], dict[str, Any]]]
) -> None:
    record_train_images(layout.encoder("start"), 4 * FEATURES)
    seen, _ = own_deviations_of("chosen", transfer_from=str(layout.encoder("start")))
    assert seen == {True}
