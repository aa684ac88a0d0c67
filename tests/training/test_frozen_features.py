"""`pretrain.freeze=all`: a linear layer trained on features that are computed once."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.clustering.run import cluster
from pipeline.config.pretrain import PretrainParams
from pipeline.dataset.dataset import ImageDataset
from pipeline.dataset.pixels import load_pixels
from pipeline.encoders.base import Architecture
from pipeline.encoders.registry import build_encoder
from pipeline.evaluation.features import features_of, load_encoder
from pipeline.ingest.run import ingest
from pipeline.objectives.registry import OBJECTIVES
from pipeline.runtime.distributed import Ranks
from pipeline.runtime.errors import UserError
from pipeline.storage.files import read_json
from pipeline.storage.placeholders import leave_out_frozen_features
from pipeline.storage.schema import Layout
from pipeline.training import frozen_features
from pipeline.training import run as training
from pipeline.training.frozen_features import FrozenFeatures, write_frozen_features
from pipeline.training.start import Start, read_start, write_start
from pipeline.training.views import FeatureViews
from processes import in_ranks
from support import TINY_OBJECTIVES, TINY_PRETRAIN, params_with, write_manifest
from training.ranks import assert_equal_weights, train_each
from training.resume import assert_resumes

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SIZE = 32
VIEWS = 3


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, clusters, weights, and the features that the stage `start` writes."""
    folder = tmp_path_factory.mktemp("written")
    layout = Layout(folder / "data")
    path = str(write_manifest(folder / "source"))
    params = params_with(
        ingest={"source": "manifest", "path": path},
        cluster={"method": "attributes", "attributes": {"columns": ["colour"]}},
    )
    ingest(params.ingest, 0, layout)
    cluster(params.cluster, "chosen", 4, 0, layout)
    torch.manual_seed(3)
    save_file(timm.create_model("resnet10t").state_dict(), folder / "weights.safetensors")
    write(layout)
    return folder


@pytest.fixture
def layout(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A copy that a test may change."""
    monkeypatch.setenv("CLINFONCE_STATE_DIR", str(tmp_path / "state"))
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return Layout(tmp_path / "data")


def params_of(layout: Layout, **changes: Any) -> PretrainParams:
    usual = {
        "encoder": "timm/resnet10t",
        "weights": str(layout.root.parent / "weights.safetensors"),
        "freeze": "all",
        "frozen_views": VIEWS,
        "stem_stride": "auto",
        "batch_size": 4,
        "epochs": 1,
        "optimizer": "sgd",
        "learning_rate": 0.1,
    }
    return PretrainParams.model_validate(TINY_PRETRAIN | TINY_OBJECTIVES | usual | changes)


def start_of(layout: Layout) -> Start:
    start = read_start(params_of(layout), layout)
    assert start is not None
    return start


def write(layout: Layout, **changes: Any) -> None:
    write_start(params_of(layout, **changes), SIZE, layout)
    assert write_frozen_features(start_of(layout), params_of(layout, **changes), layout) > 0


def train(layout: Layout, **changes: Any) -> bytes:
    training.pretrain(params_of(layout, **changes), "chosen", SIZE, 0, layout)
    return (layout.encoder("chosen") / "encoder.safetensors").read_bytes()


def stored(layout: Layout) -> Tensor:
    loader = FrozenFeatures(start_of(layout), ImageDataset(layout.images).train, None, layout, CPU)
    ((features_BVD, _),) = loader.batches([torch.arange(len(loader))])
    return features_BVD


def test_the_first_view_is_that_of_the_evaluation(layout: Layout) -> None:
    train_split = ImageDataset(layout.images).train
    pixels = load_pixels(train_split, range(len(train_split)))
    features_NVD = stored(layout)
    expected_ND = features_of(load_encoder(layout.encoder("start"), CPU), pixels, CPU)
    assert features_NVD.shape == (len(train_split), 1 + VIEWS, 512)
    torch.testing.assert_close(features_NVD[:, 0], expected_ND.half())
    # The others are of further crops and colours.
    distances = torch.cdist(features_NVD.float(), features_NVD.float())
    assert (distances[:, ~torch.eye(1 + VIEWS, dtype=torch.bool)] > 0).all()


def test_they_depend_neither_on_the_loader_nor_on_the_seed(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = layout.frozen_features.read_bytes()
    monkeypatch.setenv("CLINFONCE_LOADER", "streamed")
    write(layout)
    assert layout.frozen_features.read_bytes() == before


def test_two_views_of_an_image_are_never_the_same() -> None:
    features_NVD = torch.arange(1.0, 1 + 64 * 4).reshape(64, 4, 1).half()
    drawn = []
    for seed in range(50):
        both = FeatureViews().random(
            (features_NVD.repeat(2, 1, 1), torch.empty(0)), seed, torch.arange(128), 128
        )
        first, second = (both.reshape(2, 64) - 1) % 4
        assert first.ne(second).all()
        assert torch.cat([first, second]).ne(0).all()  # the central view is for evaluation
        drawn.append(torch.stack([first, second]))
    pairs, counts = torch.stack(drawn, 1).reshape(2, -1).unique(dim=1, return_counts=True)
    assert pairs.shape[1] == 6
    assert counts.min() > 0.8 * counts.max()


def test_a_part_of_a_batch_has_the_views_of_the_whole() -> None:
    features_NVD = torch.randn(6, 4, 2)
    whole = FeatureViews().random((features_NVD.repeat(2, 1, 1), torch.empty(0)), 7, torch.arange(12), 12)
    rows = torch.tensor([1, 4, 7, 10])
    part = FeatureViews().random((features_NVD[rows % 6], torch.empty(0)), 7, rows, 12)
    assert torch.equal(part, whole[rows])


def test_only_the_layer_above_the_weights_changes(layout: Layout) -> None:
    before = start_of(layout).tensors
    train(layout, epochs=3)
    after = load_file(layout.encoder("chosen") / "encoder.safetensors")
    adapter = after.pop("adapter.weight"), after.pop("adapter.bias")
    assert after.keys() == {f"network.{name}" for name in before}
    assert all(torch.equal(after[f"network.{name}"], value) for name, value in before.items())
    assert not torch.equal(adapter[0], torch.eye(512))
    pixels = load_pixels(ImageDataset(layout.images).test, range(4))
    features_ND = features_of(load_encoder(layout.encoder("start"), CPU), pixels, CPU)
    adapted_ND = features_of(load_encoder(layout.encoder("chosen"), CPU), pixels, CPU)
    torch.testing.assert_close(adapted_ND, features_ND @ adapter[0].T + adapter[1], rtol=1e-4, atol=1e-4)


def test_images_without_a_cluster_are_left_out(layout: Layout) -> None:
    loader = FrozenFeatures(start_of(layout), ImageDataset(layout.images).train, [5, 2], layout, CPU)
    ids = ImageDataset(layout.images).train.ids.to_pylist()
    assert loader.ids == [ids[5], ids[2]]
    ((features_BVD, _),) = loader.batches([torch.tensor([1])])
    assert torch.equal(features_BVD[0], stored(layout)[2])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_stopped_within_an_epoch_it_ends_with_the_same_bytes(
    layout: Layout, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = len(ImageDataset(layout.images).train) // 4
    assert_resumes(lambda: train(layout, objective=objective), steps, monkeypatch)


@pytest.mark.parametrize("freeze", ["all", 0.0])
def test_a_teacher_keeps_features_near_its_vectors(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, freeze: Any
) -> None:
    count = len(ImageDataset(layout.images).train)
    vectors = np.random.default_rng(0).normal(size=(count, 4))
    np.save(tmp_path / "v.npy", vectors)
    section = {"teacher": {"vectors": str(tmp_path / "v.npy"), "weight": 5.0}, "freeze": freeze}
    without = train(layout, freeze=freeze)
    assert_resumes(lambda: train(layout, **section), count // 4, monkeypatch)
    taught = (layout.encoder("chosen") / "encoder.safetensors").read_bytes()
    recorded = read_json(layout.encoder("chosen") / "config.json")["teacher"]
    assert taught != without
    # Another file is another training.
    np.save(tmp_path / "v.npy", vectors[::-1])
    assert train(layout, **section) != taught
    assert read_json(layout.encoder("chosen") / "config.json")["teacher"] != recorded


def test_vectors_that_lack_an_image_are_refused(layout: Layout, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((3, 2)))
    with pytest.raises(UserError, match=r"^pretrain\.teacher\.vectors=\S+ has 3 rows, and there are"):
        train(layout, teacher={"vectors": str(tmp_path / "v.npy")})


def test_two_processes_train_as_one(layout: Layout, tmp_path: Path) -> None:
    ways = {name: params_of(layout, objective=name) for name in ("cl_infonce", "swav")}
    together, _ = in_ranks(2, tmp_path / "ranks", train_each, layout, ways, SIZE)
    assert_equal_weights(together, train_each(Ranks(), layout, ways, SIZE))


def test_features_of_other_weights_or_none_are_damage(layout: Layout, tmp_path: Path) -> None:
    leave_out_frozen_features(layout)
    with pytest.raises(
        UserError, match=r"frozen_features.parquet is damaged \(it holds features of other weig"
    ):
        train(layout)
    layout.frozen_features.unlink()
    with pytest.raises(UserError, match=r"frozen_features.parquet is missing: run `dvc repro`"):
        train(layout)


def test_features_of_other_images_are_damage(layout: Layout, tmp_path: Path) -> None:
    again = {"source": "manifest", "path": str(tmp_path / "source/manifest.csv"), "test_fraction": 0.25}
    section = params_with(ingest=again | {"columns": {"split": None}}).ingest
    ingest(section, 7, layout)
    cluster(params_with(cluster={"method": "instance"}).cluster, "chosen", 4, 0, layout)
    with pytest.raises(UserError, match=r"features.parquet is damaged \(it holds features of other images\)"):
        train(layout)


def test_a_changed_byte_is_damage(layout: Layout) -> None:
    content = bytearray(layout.frozen_features.read_bytes())
    content[len(content) // 2] ^= 1
    layout.frozen_features.write_bytes(content)
    with pytest.raises(UserError, match=r"frozen_features.parquet is damaged"):
        train(layout)


def test_features_beyond_the_memory_are_refused(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_features, "available_memory", lambda: 10_000)
    with pytest.raises(UserError, match=r"memory, and 0.0 GiB are free: lower pretrain.frozen_views$"):
        train(layout)


def test_features_beyond_float16_are_refused(layout: Layout) -> None:
    weights = load_file(layout.root.parent / "weights.safetensors")
    weights["layer4.0.bn2.bias"] += 1e6
    save_file(weights, layout.root.parent / "weights.safetensors")
    with pytest.raises(UserError, match=r"gives features that are not finite or above 65,504"):
        write(layout)


def test_an_adapted_encoder_is_no_start(layout: Layout) -> None:
    train(layout)
    with pytest.raises(UserError, match=r"ends in a linear layer that was trained above frozen weights"):
        write_start(params_of(layout, weights=str(layout.encoder("chosen"))), SIZE, layout)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"weights": None},
            "pretrain.freeze=all keeps the encoder as it came, and pretrain.weights names no",
        ),
        ({"form": "pair", "teacher": {"vectors": "v.npy"}}, "has the vectors of first views alone"),
        ({"layer_decay": 0.5}, "pretrain.layer_decay=0.5 has no effect with pretrain.freeze=all"),
        ({"frozen_views": 1}, "greater than or equal to 2"),
        ({"freeze": "none"}, "is out of range: it is a share from 0 to below 1, or all, not 'none'"),
        ({"freeze": 1.0}, "is out of range"),
        ({"freeze": True}, "is out of range"),
    ],
)
def test_parameters_that_do_not_fit(changes: dict[str, Any], sentence: str) -> None:
    values = {"encoder": "resnet18", "weights": "a.pth", "freeze": "all"} | changes
    with pytest.raises(ValueError, match=sentence):
        PretrainParams.model_validate(values)


def test_a_torchvision_network_and_that_of_this_project_take_an_adapter() -> None:
    for name, stride in (("resnet18", 4), ("patch_resnet", 2)):
        torch.manual_seed(0)
        plain = build_encoder(Architecture(name, stride, SIZE)).eval()
        torch.manual_seed(0)
        adapted = build_encoder(Architecture(name, stride, SIZE, has_adapter=True)).eval()
        images = torch.from_numpy(np.random.default_rng(0).random((2, 3, SIZE, SIZE), np.float32))
        torch.testing.assert_close(adapted(images), plain(images), rtol=1e-4, atol=1e-5)


def test_the_file_is_parquet_that_others_read(layout: Layout) -> None:
    table = pq.read_table(layout.frozen_features)
    assert table.column("id").to_pylist() == ImageDataset(layout.images).train.ids.to_pylist()
    cell = np.frombuffer(table.column("features")[3].as_py(), np.float16)
    assert np.array_equal(cell, stored(layout)[3].numpy().ravel())
