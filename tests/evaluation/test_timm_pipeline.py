"""From files of images to features: what timm's own transform and network make of them."""

import csv
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from timm.models import save_for_hf
from torch import Tensor

from pipeline.config.pretrain import PretrainParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.pixels import load_pixels
from pipeline.encoders.timm_arguments import TimmArguments
from pipeline.encoders.timm_models import takes_image_size
from pipeline.evaluation.features import features_of, load_encoder
from pipeline.ingest.run import ingest
from pipeline.runtime.errors import UserError
from pipeline.storage.schema import Layout
from pipeline.training.start import write_start
from support import params_with

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
IMAGES, SIZE = 100, 64
Data = tuple[Layout, list[Path]]


@pytest.fixture(scope="module")
def images(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Real images of 32 pixels, ingested to be stored as they are."""
    folder = tmp_path_factory.mktemp("images")
    paths = sorted((shared_data / "cifar100" / "test").rglob("*.png"))[:: 5000 // IMAGES][:IMAGES]
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["image", "split"], *([str(path), "train"] for path in paths)])
    section = {"source": "manifest", "path": str(folder / "manifest.csv"), "image_size": SIZE}
    layout = Layout(folder / "data")
    ingest(params_with(ingest=section | {"allow_outside_paths": True}).ingest, 0, layout)
    return layout, paths


@pytest.mark.parametrize(
    "name", ["resnet18.a1_in1k", "convnext_atto.d2_in1k", "vit_tiny_patch16_224.augreg_in21k"]
)
def test_features_are_those_of_timm_s_own_pipeline(images: Data, tmp_path: Path, name: str) -> None:
    layout, paths = images
    torch.manual_seed(0)
    sized: dict[str, Any] = {"img_size": SIZE} if takes_image_size(name) else {}
    model = timm.create_model(name, num_classes=0, **sized).eval()
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    transform = create_transform(**resolve_data_config({"input_size": (3, SIZE, SIZE)}, model=model))
    with torch.inference_mode():
        expected_ND = model(torch.stack([transform(Image.open(path).convert("RGB")) for path in paths]))

    given = {"encoder": f"timm/{name}", "weights": str(tmp_path / "weights.safetensors")}
    write_start(PretrainParams.model_validate(given), SIZE, layout)
    found_ND = features_of_start(layout, paths)
    assert expected_ND.std() > 0.01
    torch.testing.assert_close(found_ND, expected_ND, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("resnet18", {"global_pool": "max"}),
        ("resnet18", {"act_layer": "silu"}),
        ("resnet18", {"output_stride": 8}),
        ("vit_tiny_patch16_224", {"global_pool": "avg", "img_size": SIZE}),
        ("vit_tiny_patch16_224", {"global_pool": "avg", "fc_norm": False}),
        ("vit_tiny_patch16_224", {"global_pool": "avg", "class_token": False, "drop_path_rate": 0.1}),
    ],
)
def test_a_folder_of_timm_gives_the_features_of_the_network_in_it(
    images: Data, tmp_path: Path, name: str, arguments: dict[str, Any]
) -> None:
    layout, paths = images
    torch.manual_seed(0)
    save_for_hf(timm.create_model(name, **arguments), str(tmp_path / "hub"), model_args=arguments)
    sized: dict[str, Any] = {"img_size": SIZE} if takes_image_size(name) else {}
    model = timm.create_model(f"local-dir:{tmp_path / 'hub'}", pretrained=True, num_classes=0, **sized).eval()
    transform = create_transform(**resolve_data_config({"input_size": (3, SIZE, SIZE)}, model=model))
    with torch.inference_mode():
        expected_ND = model(torch.stack([transform(Image.open(path).convert("RGB")) for path in paths]))

    given = {"encoder": f"timm/{name}", "weights": str(tmp_path / "hub")}
    write_start(PretrainParams.model_validate(given), SIZE, layout)
    scale = float(expected_ND.std())
    torch.testing.assert_close(features_of_start(layout, paths), expected_ND, rtol=1e-3, atol=1e-3 * scale)
    decisive = {key: value for key, value in arguments.items() if key in TimmArguments.model_fields}
    assert str(TimmArguments(**decisive)) in (layout.encoder("start") / "README.md").read_text()


def test_torchvision_s_network_takes_no_arguments_of_timm(images: Data, tmp_path: Path) -> None:
    save_for_hf(timm.create_model("resnet18", global_pool="max"), str(tmp_path / "hub"))
    params = PretrainParams.model_validate({"encoder": "resnet18", "weights": str(tmp_path / "hub")})
    with pytest.raises(UserError, match=r"with global_pool='max': set pretrain\.encoder=timm/resnet18"):
        write_start(params, SIZE, images[0])


def features_of_start(layout: Layout, paths: list[Path]) -> Tensor:
    store = load_pixels(ImageSplit(layout.images, "train"))
    features_ND = features_of(load_encoder(layout.encoder("start"), CPU), store, CPU)
    place_of = {image: place for place, image in enumerate(store.ids)}
    return features_ND[[place_of[str(path)] for path in paths]]
