"""Training from weights: how they reach it, what is recorded, and the reference `start`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.config.pretrain import PretrainParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.pixels import load_pixels
from pipeline.encoders.patches import PatchResNet
from pipeline.evaluation.features import features_of, load_encoder
from pipeline.runtime.errors import UserError
from pipeline.storage.files import read_json
from pipeline.storage.schema import Layout
from pipeline.training import run as training
from pipeline.training.start import read_start, write_start
from support import TINY_PRETRAIN

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SIZE = 32
TIMM = "timm/resnet10t"
Write = Callable[..., list[str]]


@pytest.fixture
def layout(clustered: Callable[..., Layout]) -> Layout:
    return clustered(24, method="attributes", attributes={"columns": ["colour", "size"]})


@pytest.fixture
def state(tmp_path: Path) -> dict[str, Tensor]:
    torch.manual_seed(3)
    weights: dict[str, Tensor] = timm.create_model("resnet10t", num_classes=3).state_dict()
    save_file(weights, tmp_path / "weights.safetensors")
    return weights


def params_of(**changes: Any) -> PretrainParams:
    usual = {"batch_size": 4, "epochs": 1, "stem_stride": "auto", "encoder": TIMM, "image_size": SIZE}
    return PretrainParams.model_validate(TINY_PRETRAIN | usual | changes)


def write(layout: Layout, **changes: Any) -> dict[str, Any]:
    write_start(params_of(**changes), SIZE, layout)
    return dict(read_json(layout.encoder("start") / "config.json"))


def trained(layout: Layout, **changes: Any) -> dict[str, Tensor]:
    training.pretrain(params_of(**changes), "chosen", SIZE, 0, layout)
    return load_file(layout.encoder("chosen") / "encoder.safetensors")


def test_it_is_the_weights_as_they_came(layout: Layout, state: dict[str, Tensor], tmp_path: Path) -> None:
    weights = str(tmp_path / "weights.safetensors")
    config = write(layout, weights=weights)
    written = load_file(layout.encoder("start") / "encoder.safetensors")
    assert all(torch.equal(value, state[name]) for name, value in written.items())
    assert (config["encoder"], config["stem_stride"], config["epochs"]) == (TIMM, None, 0)
    # As timm's weights of that network are prepared.
    assert (config["interpolation"], config["crop_pct"], config["mean"]) == (
        "bicubic",
        0.875,
        [0.485, 0.456, 0.406],
    )
    assert config["start"]["weights"] == weights
    assert "fc.weight" in config["start"]["notes"][0]
    features = features_of(
        load_encoder(layout.encoder("start"), CPU), load_pixels(ImageSplit(layout.images, "test")), CPU
    )
    assert features.shape == (6, 512)


def test_training_starts_from_them(layout: Layout, state: dict[str, Tensor], tmp_path: Path) -> None:
    weights = str(tmp_path / "weights.safetensors")
    write(layout, weights=weights)
    after = trained(layout, weights=weights, learning_rate=1e-12)
    for name, value in after.items():
        exactly = name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        torch.testing.assert_close(value, state[name], atol=0 if exactly else 1e-6, rtol=0)
    config = read_json(layout.encoder("chosen") / "config.json")
    start = read_json(layout.encoder("start") / "config.json")
    for key in ("mean", "std", "interpolation", "crop_pct", "image_size"):
        assert config[key] == start[key]
    assert config["start"]["sha256"] == start["start"]["sha256"]
    assert config["start"]["encoder_sha256"] == start["weights_sha256"] != config["weights_sha256"]
    card = (layout.encoder("chosen") / "README.md").read_text()
    assert "trained further from" in card
    assert config["start"]["sha256"][:12] in card


def test_other_weights_are_another_training(layout: Layout, state: dict[str, Tensor], tmp_path: Path) -> None:
    weights = str(tmp_path / "weights.safetensors")
    write(layout, weights=weights)
    first = trained(layout, weights=weights)
    save_file({name: value * 2 for name, value in state.items()}, weights)
    with pytest.raises(
        UserError, match=r"has changed since the stage `start` read it: run `dvc repro -f start`"
    ):
        trained(layout, weights=weights)
    write(layout, weights=weights)
    second = trained(layout, weights=weights)
    assert not torch.equal(first["conv1.0.weight"], second["conv1.0.weight"])


def test_the_folder_of_an_encoder_of_this_project(layout: Layout, tmp_path: Path) -> None:
    own = {"encoder": "patch_resnet", "weights": None}
    first = trained(layout, **own)
    shutil.copytree(layout.encoder("chosen"), tmp_path / "earlier")
    own["weights"] = str(tmp_path / "earlier")
    config, before = write(layout, **own), read_json(tmp_path / "earlier" / "config.json")
    for key in ("encoder", "stem_stride", "mean", "std", "interpolation", "crop_pct"):
        assert config[key] == before[key]
    # Its filters are kept, and the whitening of its features is fitted again.
    second = trained(layout, **own)
    assert torch.equal(second["first.patches.weight"], first["first.patches.weight"])
    assert not torch.equal(second["trunk.1.weight"], first["trunk.1.weight"])


def test_a_whitening_is_reset_before_training() -> None:
    network = PatchResNet()
    torch.nn.init.normal_(network.whitening.weight)
    network.reset_whitening()
    assert torch.equal(network.whitening.weight, torch.eye(768))


def test_a_folder_of_timm_says_how_images_are_prepared(
    layout: Layout, state: dict[str, Tensor], tmp_path: Path
) -> None:
    folder = tmp_path / "hub"
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    prepared = {"mean": [0.1, 0.2, 0.3], "std": [0.4] * 3, "interpolation": "bicubic", "crop_pct": 0.8}
    described = {"architecture": "resnet10t", "pretrained_cfg": prepared}
    (folder / "config.json").write_text(json.dumps(described))
    config = write(layout, weights=str(folder))
    assert {key: config[key] for key in prepared} == prepared
    (folder / "config.json").write_text(
        json.dumps({"architecture": "resnet10t"} | prepared)
    )  # as before 2023
    config = write(layout, weights=str(folder))
    assert {key: config[key] for key in prepared} == prepared
    (folder / "config.json").write_text(json.dumps(described | {"architecture": "resnet18"}))
    with pytest.raises(UserError, match="holds resnet18, and pretrain"):
        write(layout, weights=str(folder))
    for damage in (
        {"mean": "abc"},
        {"mean": [0.1]},
        {"mean": [7.0] * 3},
        {"crop_pct": 0.0001},
        {"crop_pct": 10**400},
    ):
        (folder / "config.json").write_text(json.dumps(described | {"pretrained_cfg": prepared | damage}))
        with pytest.raises(UserError, match=r"^pretrain\.weights="):
            write(layout, weights=str(folder))


def test_preprocessing_that_differs_from_that_of_the_weights_is_noted(
    layout: Layout, state: dict[str, Tensor], tmp_path: Path
) -> None:
    folder = tmp_path / "hub"
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    described = {"architecture": "resnet10t", "pretrained_cfg": {"crop_mode": "squash", "crop_pct": 1.0}}
    (folder / "config.json").write_text(json.dumps(described))
    notes = write_start(params_of(weights=str(folder)), SIZE, layout)
    assert notes[-1].startswith("their crop_mode is squash, and here the central square is taken")
    trained(layout, weights=str(folder))
    for arm in ("start", "chosen"):
        card = (layout.encoder(arm) / "README.md").read_text()
        assert f"Not as the weights require: {notes[-1].replace('_', chr(92) + '_')}." in card
    write(layout, weights=str(tmp_path / "weights.safetensors"))
    assert "Not as the weights require" not in (layout.encoder("start") / "README.md").read_text()


def test_what_does_not_fit_is_refused(layout: Layout, state: dict[str, Tensor], tmp_path: Path) -> None:
    weights = str(tmp_path / "weights.safetensors")

    def refused(**changes: Any) -> str:
        with pytest.raises(UserError) as raised:
            write(layout, **{"weights": weights} | changes)
        return str(raised.value)

    assert "no other weights: name a folder such as ../other/data/encoders" in refused(encoder="patch_resnet")
    assert "weights of resnet18" in refused(encoder="resnet18")
    assert "did you mean timm/resnet10t" in refused(encoder="timm/resnet10")
    assert "has nothing to download for pretrain.encoder=patch_resnet" in refused(
        encoder="patch_resnet", weights="pretrained"
    )
    trained(layout, encoder="resnet18", weights=None, stem_stride=2)
    shutil.copytree(layout.encoder("chosen"), tmp_path / "earlier")
    other = {"weights": str(tmp_path / "earlier")}
    assert "holds resnet18, and pretrain.encoder names resnet34" in refused(encoder="resnet34", **other)
    assert "has a first layer of stride 2" in refused(encoder="resnet18", stem_stride=1, **other)


def test_without_a_network_the_sentence_names_the_file(
    layout: Layout, no_network: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(name, str(layout.root / "cache"))
    for encoder, address in (
        (
            "timm/convnext_atto.d2_in1k",
            "https://huggingface.co/timm/convnext_atto.d2_in1k/resolve/main/model.safe",
        ),
        ("resnet18", "https://download.pytorch.org/models/resnet18-"),
    ):
        with pytest.raises(UserError, match=r"^pretrain\.weights=pretrained can't be downloaded") as raised:
            write(layout, encoder=encoder, weights="pretrained")
        assert address in str(raised.value)
        assert "set pretrain.weights to the file" in str(raised.value)
    assert no_network, "it was tried"
    no_network.clear()


def test_a_start_without_its_origin_is_damaged(
    layout: Layout, state: dict[str, Tensor], tmp_path: Path
) -> None:
    config = write(layout, weights=str(tmp_path / "weights.safetensors"))
    del config["start"]
    (layout.encoder("start") / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"start/config.json is damaged \('start'\): run `clinfonce repair"):
        read_start(params_of(weights=str(tmp_path / "weights.safetensors")), layout)


def test_start_is_missing_until_its_stage_ran(
    layout: Layout, state: dict[str, Tensor], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"start/config\.json is missing: run `dvc repro`"):
        trained(layout, weights=str(tmp_path / "weights.safetensors"))


def test_frozen_stages_and_rates_of_layers_reach_training(
    layout: Layout, state: dict[str, Tensor], tmp_path: Path
) -> None:
    weights = str(tmp_path / "weights.safetensors")
    write(layout, weights=weights)
    plain = {"weights": weights, "optimizer": "sgd", "learning_rate": 0.1}
    frozen = trained(layout, **plain, freeze=0.6)  # of a stem and four stages
    changed = {name for name, value in frozen.items() if not torch.equal(value, state[name])}
    assert {name.split(".")[0] for name in changed} == {"layer3", "layer4"}
    slow, fast = (trained(layout, **plain, layer_decay=decay) for decay in (0.01, 1.0))
    first, last = "conv1.0.weight", "layer4.0.conv2.weight"
    assert (slow[first] - state[first]).abs().max() < 1e-3 * (fast[first] - state[first]).abs().max()
    assert (slow[last] - state[last]).abs().max() > 0.1 * (fast[last] - state[last]).abs().max()
