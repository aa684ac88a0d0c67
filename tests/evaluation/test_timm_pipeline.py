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

from pipeline.config.pretrain import PretrainParams
from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.pixels import load_pixels
from pipeline.encoders.timm_models import takes_image_size
from pipeline.evaluation.features import features_of, load_encoder
from pipeline.ingest.run import ingest
from pipeline.storage.schema import Layout
from pipeline.training.start import write_start
from support import params_with

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
IMAGES, SIZE = 100, 64


@pytest.fixture(scope="module")
def images(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, list[Path]]:
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
def test_features_are_those_of_timm_s_own_pipeline(
    images: tuple[Layout, list[Path]], tmp_path: Path, name: str
) -> None:
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
    store = load_pixels(ImageSplit(layout.images, "train"))
    found_ND = features_of(load_encoder(layout.encoder("start"), CPU), store, CPU)
    place_of = {image: place for place, image in enumerate(store.ids)}
    found_ND = found_ND[[place_of[str(path)] for path in paths]]
    assert expected_ND.std() > 0.01
    torch.testing.assert_close(found_ND, expected_ND, rtol=1e-4, atol=1e-4)
