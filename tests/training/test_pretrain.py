"""Pretraining as a whole: deterministic, resumable at any step, blind to labels."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from operations import WAITS, Operations
from pipeline.augment import color, views
from pipeline.clustering.run import cluster
from pipeline.config.pretrain import PretrainParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.pixels import load_pixels
from pipeline.encoders import whitening
from pipeline.encoders.patches import PatchResNet
from pipeline.encoders.whitening import FEATURE_POWER, FEATURE_RIDGE
from pipeline.evaluation.features import features_of, load_encoder
from pipeline.objectives.cl_infonce import ClInfoNCE
from pipeline.runtime.errors import UserError
from pipeline.storage.checksums import write_checksummed
from pipeline.storage.files import read_json
from pipeline.storage.schema import Layout
from pipeline.training import run as training
from pipeline.training.shutdown import Interrupted
from pipeline.training.trainer import Trainer
from processes import started
from support import TINY_PRETRAIN, params_with

pytestmark = pytest.mark.slow

Pretrain = Callable[..., bytes]
ATTRIBUTES = {"method": "attributes", "attributes": {"columns": ["colour", "size"]}}


@pytest.fixture
def data(clustered: Callable[..., Layout]) -> Layout:
    """24 noise images of 12 pixels, 18 of them train."""
    return clustered(24, **ATTRIBUTES)


@pytest.fixture
def pretrain(data: Layout) -> Pretrain:
    def run(**changes: Any) -> bytes:
        params = PretrainParams.model_validate(TINY_PRETRAIN | {"batch_size": 4} | changes)
        training.pretrain(params, "chosen", 12, 0, data)
        return (data.encoder("chosen") / "encoder.safetensors").read_bytes()

    return run


def outputs(layout: Layout) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in layout.encoder("chosen").iterdir() if p.name != "timing.csv"}


def test_the_same_params_give_the_same_bytes(pretrain: Pretrain, data: Layout, tmp_path: Path) -> None:
    pretrain()
    first = outputs(data)
    pretrain()
    assert outputs(data) == first
    assert pretrain(learning_rate=0.05) != first["encoder.safetensors"]
    assert not list((tmp_path / "state").glob("*"))


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_stopped_at_any_step_it_ends_with_the_same_bytes(
    pretrain: Pretrain, data: Layout, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    choices = {"optimizer": optimizer, "learning_rate": 0.01}
    pretrain(**choices)
    undisturbed = outputs(data)
    step = Trainer.train_step
    taken = 0

    def stop_at_steps(trainer: Trainer, *arguments: Any) -> torch.Tensor:
        nonlocal taken
        taken += 1
        if taken in (2, 5, 8):  # within, between and at the ends of the epochs of 4 steps
            os.kill(os.getpid(), [signal.SIGTERM, signal.SIGINT][taken % 2])
        return step(trainer, *arguments)

    monkeypatch.setattr(Trainer, "train_step", stop_at_steps)
    for _ in range(3):
        with pytest.raises(Interrupted) as stopped:
            pretrain(**choices)
        assert stopped.value.code in (130, 143)
    pretrain(**choices)
    assert taken == 12
    assert outputs(data) == undisturbed


def pretrain_in(root: Path, *, once_awaited: bool) -> None:
    with (root / "said").open("w") as said:
        os.dup2(said.fileno(), 2)
    step = Trainer.train_step

    def when_awaited(trainer: Trainer, *arguments: Any) -> torch.Tensor:
        while once_awaited and not list(Path(os.environ["CLINFONCE_STATE_DIR"]).glob("*/waiting")):
            time.sleep(0.01)
        return step(trainer, *arguments)

    # For as long as the process lives.
    pytest.MonkeyPatch().setattr(Trainer, "train_step", when_awaited)
    params = PretrainParams.model_validate(TINY_PRETRAIN | {"batch_size": 4})
    training.pretrain(params, "chosen", 12, 0, Layout(root))


def test_who_waits_for_the_same_training_takes_its_result(data: Layout, tmp_path: Path) -> None:
    """As do two experiments that DVC runs at once, in folders of their own."""
    beside = tmp_path / "beside"
    shutil.copytree(data.root, beside)
    first = started(partial(pretrain_in, once_awaited=True), data.root)
    while not list((tmp_path / "state").glob("*/state.pt")):
        assert first.is_alive()
        time.sleep(0.01)
    second = started(partial(pretrain_in, once_awaited=False), beside)
    for process in (second, first):
        process.join(100)
        assert process.exitcode == 0
    said = " ".join((beside / "said").read_text().split())
    assert f"process {first.pid} is training this already: waiting for it" in said
    assert "trained to the end already" in said
    # The times of the epochs, too: nothing was trained twice.
    for path in data.encoder("chosen").iterdir():
        assert (Layout(beside).encoder("chosen") / path.name).read_bytes() == path.read_bytes()
    assert not list((tmp_path / "state").glob("*"))


def test_an_error_in_an_epoch_goes_back_to_the_last_state(
    pretrain: Pretrain,
    data: Layout,
    power_cut: Callable[[int, int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    pretrain()
    undisturbed = outputs(data)
    power_cut(1, 2)
    with pytest.raises(RuntimeError, match="power cut"):
        pretrain()
    pretrain()
    assert "resuming from epoch 2, step 1" in capsys.readouterr().err
    assert outputs(data) == undisturbed


def test_labels_hashtags_and_attributes_are_invisible(pretrain: Pretrain, data: Layout) -> None:
    """All that is known of the images but their pixels is replaced: the encoder must not change."""
    before = pretrain()
    for path in ImageSplit(data.images, "train").shards:
        table = pq.read_table(path)
        for name in ("label", "hashtags", "attributes", "hierarchy"):
            position = table.schema.get_field_index(name)
            other = pa.array(table.column(name).to_pylist()[::-1], table.schema.field(name).type)
            table = table.set_column(position, table.schema.field(name), other)
        write_checksummed(table, path)
    assert pretrain() == before


def test_clusters_are_what_it_learns_from(pretrain: Pretrain, data: Layout) -> None:
    before = pretrain()
    cluster(params_with(cluster={"method": "label"}).cluster, "chosen", 16, 0, data)
    assert pretrain() != before


def test_the_model_card_s_lines_load_the_encoder_and_it_tells_of_the_loss(
    pretrain: Pretrain, data: Layout
) -> None:
    pretrain(encoder="resnet18", stem_stride=2, epochs=1)
    folder = data.encoder("chosen")
    card = (folder / "README.md").read_text()
    assert ClInfoNCE.beside_published in card
    code = (
        card.split("```python\n")[1]
        .split("```")[0]
        .replace("encoder.safetensors", str(folder / "encoder.safetensors"))
    )
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - the lines that users will run
    assert names["encoder"](torch.zeros(1, 3, 12, 12)).shape == (1, 512)
    assert read_json(folder / "config.json")["torchvision"] == version("torchvision")
    assert "fc.weight" not in load_file(folder / "encoder.safetensors")


def test_history_has_a_row_an_epoch(pretrain: Pretrain, data: Layout) -> None:
    pretrain()
    history = pd.read_csv(data.encoder("chosen") / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["loss"].between(0, 10).all()
    assert history["learning_rate"].is_monotonic_decreasing
    assert len(pd.read_csv(data.encoder("chosen") / "timing.csv")) == 3


def test_kmeans_clusters_are_remade_between_epochs(
    pretrain: Pretrain, data: Layout, power_cut: Callable[[int, int], None]
) -> None:
    section = {"method": "kmeans", "kmeans": {"clusters": 3, "min_points": 1}}
    cluster(params_with(cluster=section).cluster, "chosen", 16, 0, data)
    pretrain(recluster_every=2, epochs=5)
    undisturbed = outputs(data)
    folder = data.encoder("chosen")
    assert pd.read_csv(folder / "trajectory.csv")["epoch"].tolist() == [2, 4]
    table = pq.read_table(folder / "assignments.parquet")
    assert table.column_names == ["id", "cluster", "cluster_at_epoch_2", "cluster_at_epoch_4"]
    assert table.column("cluster").equals(table.column("cluster_at_epoch_4"))

    power_cut(3, 1)
    with pytest.raises(RuntimeError, match="power cut"):
        pretrain(recluster_every=2, epochs=5)
    pretrain(recluster_every=2, epochs=5)
    assert outputs(data) == undisturbed

    pretrain(recluster_every=0)
    assert not (folder / "trajectory.csv").exists()


def test_clusters_of_other_images_are_refused(pretrain: Pretrain, data: Layout) -> None:
    path = data.assignments("chosen")
    table = pq.read_table(path)
    write_checksummed(table.set_column(0, "id", pa.array([f"other {n}" for n in range(len(table))])), path)
    with pytest.raises(UserError, match=r"assignments\.parquet is damaged \(it names images that .* lacks"):
        pretrain()


def test_images_without_a_cluster_are_not_trained_on(pretrain: Pretrain, data: Layout) -> None:
    path = data.assignments("chosen")
    write_checksummed(pq.read_table(path).slice(6), path)
    before = pretrain()
    assert read_json(data.encoder("chosen") / "config.json")["train_images"] == 12
    # What the images that have no cluster show does not matter.
    (shard,) = ImageSplit(data.images, "train").shards
    table = pq.read_table(shard)
    images = table.column("image").to_pylist()
    images[:6] = images[5::-1]
    position = table.schema.get_field_index("image")
    images_column = pa.array(images, table.schema.field("image").type)
    write_checksummed(table.set_column(position, table.schema.field("image"), images_column), shard)
    assert pretrain() == before


def test_bfloat16_trains_too(pretrain: Pretrain, data: Layout) -> None:
    pretrain(precision="bfloat16", epochs=1)
    assert read_json(data.encoder("chosen") / "config.json")["precision"] == "bfloat16"


def test_no_step_waits_for_the_device(pretrain: Pretrain, monkeypatch: pytest.MonkeyPatch) -> None:
    step, seen = Trainer.train_step, Operations()

    def watched(trainer: Trainer, *arguments: Any) -> torch.Tensor:
        with seen:
            return step(trainer, *arguments)

    monkeypatch.setattr(Trainer, "train_step", watched)
    # On a CPU, where nothing waits, it looks for the images to blur.
    monkeypatch.setattr(views, "blur", color._blurred)
    augment = {"blur_probability": 0.5, "solarize_probability": 0.5}
    # AdamW counts its steps on the host, unless it is fused, which it is on a GPU.
    for changes in ({}, {"micro_batch": 2, "form": "pair"}, {"optimizer": "lars", "form": "in"}):
        pretrain(**{"epochs": 1, "augment": augment, "optimizer": "sgd"} | changes)
    assert {"convolution", "convolution_backward"} <= seen.names
    assert seen.names & WAITS == set()


def test_the_features_of_the_train_images_are_whitened_in_good_part(
    pretrain: Pretrain, data: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whitening, "IMAGES_PER_FEATURE", 0)
    pretrain()
    device = torch.device("cpu")
    features_ND = features_of(
        load_encoder(data.encoder("chosen"), device), load_pixels(ImageSplit(data.images, "train")), device
    )
    assert float(features_ND.mean(dim=0).abs().max()) < 1e-2
    # 18 images have at most 17 directions; what the last layer is given is turned back by its inverse.
    backbone = load_encoder(data.encoder("chosen"), device).encoder.backbone
    assert isinstance(backbone, PatchResNet)
    last = backbone.whitening
    given_ND = torch.linalg.solve(last.weight.double(), (features_ND - last.bias).double().T).T
    after, before = (
        torch.linalg.svdvals(values_ND - values_ND.mean(dim=0))[:17].square() / 18
        for values_ND in (features_ND.double(), given_ND)
    )
    expected = before * (before + FEATURE_RIDGE * before[0]) ** (-2 * FEATURE_POWER)
    torch.testing.assert_close(after, expected.sort(descending=True).values, rtol=0.05, atol=1e-4)
