"""The card's own lines are run, as a person would who has the folder and nothing else."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image

from inference.conftest import MakeEncoder
from pipeline.config.pretrain import PretrainParams
from pipeline.evaluation.features import features_of_batch, load_encoder
from pipeline.inference.images.base import InputImage
from pipeline.inference.images.crop import central_square
from pipeline.inference.images.decode import on_a_canvas
from pipeline.objectives.base import DataInfo
from pipeline.objectives.registry import OBJECTIVES
from pipeline.objectives.traits import TRAITS
from pipeline.untrusted.safe_paths import SafePath
from support import png

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


def code_blocks(folder: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)


def run(*blocks: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)  # noqa: S102 - the lines that users will run
    return names


def pipelines_features(folder: Path, picture: Path) -> torch.Tensor:
    trained = load_encoder(folder, CPU)
    square = central_square(InputImage("", SafePath(picture)), trained.decoded_size, trained.value_range)
    return features_of_batch(trained, *on_a_canvas([square]))


def save(picture: Path, width: int, height: int) -> None:
    """As JPEG, with a camera's note that it lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.with_suffix(".png").write_bytes(png(width, width, height))
    # Blown up noise, which JPEG keeps and scaling down does not blur away.
    coarse = Image.open(picture.with_suffix(".png")).resize((width, height), Image.Resampling.BILINEAR)
    coarse.save(picture, "JPEG", quality=95, exif=exif)


@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_its_lines_give_the_pipeline_s_features(
    make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch, stem_stride: int
) -> None:
    folder = make_encoder(stem_stride=stem_stride)
    monkeypatch.chdir(folder)
    torchvision_block, timm_block, picture_block = code_blocks(folder)
    # Scaled down by the decoder and then by Pillow; by Pillow alone; not at all; small, and so enlarged.
    for width, height in ((301, 240), (50, 90), (32, 40), (20, 30)):
        save(folder / "picture.jpg", width, height)
        expected = pipelines_features(folder, folder / "picture.jpg")
        assert expected.abs().max() > 0.1
        for block in (torchvision_block, timm_block):
            names = run(block, picture_block)
            assert not names["encoder"].training
            torch.testing.assert_close(names["features"], expected, rtol=1e-5, atol=1e-5)


def ramp(low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
    return np.linspace(low, high, int(np.prod(shape))).reshape(shape)


def with_gaps(values: np.ndarray) -> np.ndarray:
    values[3, 4:9], values[5, :7], values[30:, 2] = -9999, np.nan, 77
    return values.astype(np.float32)


PICTURES: dict[str, tuple[str, Callable[[], Image.Image]]] = {
    "16 bits": ("PNG", lambda: Image.fromarray(ramp(0, 65535, (40, 50)).astype(np.uint16))),
    "12 bits in 32": ("TIFF", lambda: Image.fromarray(ramp(0, 4095, (40, 50)).astype(np.int32))),
    "12 bits in 16": ("PNG", lambda: Image.fromarray(ramp(0, 3000, (40, 50)).astype(np.uint16))),
    "shares": ("TIFF", lambda: Image.fromarray(ramp(0, 0.9, (40, 50)).astype(np.float32))),
    "heights without data": ("TIFF", lambda: Image.fromarray(with_gaps(ramp(-3, 900, (40, 50))))),
    "floats": ("TIFF", lambda: Image.fromarray(ramp(-3, 900, (40, 50)).astype(np.float32))),
    "transparent": ("PNG", lambda: Image.fromarray(ramp(0, 255, (40, 50, 4)).astype(np.uint8))),
    "gray and transparent": ("PNG", lambda: Image.fromarray(ramp(0, 255, (40, 50, 2)).astype(np.uint8))),
    "a palette": ("GIF", lambda: Image.fromarray(ramp(0, 255, (40, 50)).astype(np.uint8)).convert("P")),
    "inks": ("JPEG", lambda: Image.fromarray(ramp(0, 255, (40, 50, 4)).astype(np.uint8), "CMYK")),
    "two values": ("PNG", lambda: Image.fromarray(ramp(0, 1, (40, 50)) > 0.3)),
    "a panorama": ("PNG", lambda: Image.fromarray(ramp(0, 255, (33, 101, 3)).astype(np.uint8))),
}


@pytest.mark.parametrize("value_range", [None, [-100.0, 2000.0]])
@pytest.mark.parametrize("kind", PICTURES)
def test_its_lines_prepare_every_kind_of_picture(
    make_encoder: MakeEncoder,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    value_range: list[float] | None,
) -> None:
    folder = make_encoder(value_range=value_range)
    monkeypatch.chdir(folder)
    file_format, picture = PICTURES[kind]
    more: dict[str, Any] = {"transparency": 7} if kind == "a palette" else {}
    if kind == "heights without data":
        more = {"tiffinfo": {42113: "77"}}
    picture().save(folder / "picture.jpg", file_format, **more)
    torchvision_block, _, picture_block = code_blocks(folder)
    expected = pipelines_features(folder, folder / "picture.jpg")
    features = run(torchvision_block, picture_block)["features"]
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet50", "resnext50_32x4d", "wide_resnet50_2"])
def test_other_networks_load_in_both_libraries(
    make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = make_encoder(name=name, stem_stride=2)
    monkeypatch.chdir(folder)
    save(folder / "picture.jpg", 60, 50)
    expected = pipelines_features(folder, folder / "picture.jpg")
    torchvision_block, timm_block, picture_block = code_blocks(folder)
    for block in (torchvision_block, timm_block):
        torch.testing.assert_close(run(block, picture_block)["features"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("preparation", "size"),
    [
        ({}, 32),
        ({"stored_size": 40}, 32),
        ({"interpolation": "bicubic", "crop_pct": 0.875}, 32),
        ({"interpolation": "bicubic", "crop_pct": 0.9, "stored_size": 36}, 32),
        ({"interpolation": "bilinear", "crop_pct": 0.95}, 48),
    ],
)
@pytest.mark.parametrize("name", ["timm/convnext_atto.d2_in1k", "timm/vit_tiny_patch16_224"])
def test_networks_of_timm_load_there_and_prepare_images_as_their_weights_require(
    make_encoder: MakeEncoder,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    preparation: dict[str, Any],
    size: int,
) -> None:
    folder = make_encoder(name=name, stem_stride=None, image_size=size, preparation=preparation)
    monkeypatch.chdir(folder)
    timm_block, picture_block = code_blocks(folder)
    for width, height in ((301, 240), (50, 90), (20, 30)):
        save(folder / "picture.jpg", width, height)
        expected = pipelines_features(folder, folder / "picture.jpg")
        torch.testing.assert_close(run(timm_block, picture_block)["features"], expected, rtol=1e-4, atol=1e-5)
    assert ModelCard.load(folder / "README.md").data.to_dict()["library_name"] == "timm"


@pytest.mark.parametrize(
    ("name", "stem_stride"), [("resnet18", 2), ("timm/convnext_atto.d2_in1k", None), ("patch_resnet", 2)]
)
def test_a_layer_above_frozen_weights_takes_two_lines_more(
    make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch, name: str, stem_stride: int | None
) -> None:
    folder = make_encoder(name=name, stem_stride=stem_stride, preparation={"has_adapter": True})
    monkeypatch.chdir(folder)
    save(folder / "picture.jpg", 60, 50)
    expected = pipelines_features(folder, folder / "picture.jpg")
    *library_blocks, picture_block = code_blocks(folder)
    for block in library_blocks:
        torch.testing.assert_close(run(block, picture_block)["features"], expected, rtol=1e-4, atol=1e-5)
    assert "above it a linear layer, the only one that was trained;" in (folder / "README.md").read_text()


@pytest.mark.parametrize("stem_stride", [2, 4])
@pytest.mark.parametrize("name", ["patch_resnet", "whitened_patches"])
def test_the_project_s_own_networks_need_nothing_but_torch(
    make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch, name: str, stem_stride: int
) -> None:
    folder = make_encoder(name=name, stem_stride=stem_stride)
    monkeypatch.chdir(folder)
    save(folder / "picture.jpg", 60, 50)
    expected = pipelines_features(folder, folder / "picture.jpg")
    assert expected.abs().max() > 0.01
    torch_block, picture_block = code_blocks(folder)
    assert "pipeline" not in "".join(line for line in torch_block.splitlines() if "import" in line)
    torch.testing.assert_close(run(torch_block, picture_block)["features"], expected, rtol=1e-4, atol=1e-5)
    assert ModelCard.load(folder / "README.md").data.to_dict()["library_name"] == "pytorch"


def test_the_encoder_takes_three_lines(make_encoder: MakeEncoder) -> None:
    for stem_stride in (1, 4):
        for block in code_blocks(make_encoder(stem_stride=stem_stride))[:2]:
            lines = [line for line in block.splitlines() if line and "import" not in line]
            assert len(lines) <= 3


def test_the_hub_reads_its_metadata(make_encoder: MakeEncoder) -> None:
    card = ModelCard.load(make_encoder(images_with_hashtags=7) / "README.md")
    assert card.data.pipeline_tag == "image-feature-extraction"
    assert card.data.to_dict()["library_name"] == "torchvision"
    assert card.data.license is None
    assert card.data.eval_results is None
    headings = re.findall(r"^## (.*)$", card.text, re.MULTILINE)
    assert headings == [
        "How to use",
        "Training data",
        "Training procedure",
        "Preprocessing",
        "Intended use and limits",
        "Measured figures",
    ]
    assert "18 of 18 train images; 6 more" in card.text
    assert "2 classes: cat, dog." in card.text
    assert "7 of the 24 images have hashtags." in card.text


def test_strangers_strings_stay_text(make_encoder: MakeEncoder) -> None:
    hostile = ["<script>alert(1)</script>", "[x](javascript:alert(1))", "a\n## Heading\n```python\nimport os"]
    folder = make_encoder(labels=hostile, attributes=["`--`|*"])
    text = (folder / "README.md").read_text()
    assert "<script>" not in text
    assert "[x](" not in text
    assert "## Heading" not in text.splitlines()
    assert len(code_blocks(folder)) == 3
    assert r"\`--\`\|\*" in text


def test_images_without_labels_are_reported(make_encoder: MakeEncoder) -> None:
    assert "None of them has a label." in (make_encoder(labels=[]) / "README.md").read_text()


def pretrained_by(make_encoder: MakeEncoder, objective: str, **changes: Any) -> str:
    pretrain = PretrainParams.model_validate({"objective": objective} | changes)
    return (make_encoder(pretrain=pretrain) / "README.md").read_text()


def test_a_batch_is_no_larger_than_the_set(make_encoder: MakeEncoder) -> None:
    assert "1 epoch, all 18 images in one step, seed 0" in pretrained_by(make_encoder, "cl_infonce")
    text = pretrained_by(make_encoder, "cl_infonce", batch_size=4)
    assert "1 epoch, 4 steps of 4 images an epoch, seed 0" in text
    text = pretrained_by(make_encoder, "cl_infonce", batch_size=64, sampler="cluster")
    assert "1 epoch, 18 images a step in pairs of one cluster, seed 0" in text


def test_it_says_what_the_objective_learned_from(make_encoder: MakeEncoder) -> None:
    sentences = {
        "clusters": "It learned from the clusters",
        "attributes": "Training saw the images and their attributes",
        "images": "Training saw the images alone, without labels or clusters.",
    }
    for name, traits in TRAITS.items():
        text = pretrained_by(make_encoder, name)
        assert [source for source, sentence in sentences.items() if sentence in text] == [traits.learns_from]
        assert ("and their hashtags, without" in text) == (traits.attributes == "values_and_hashtags")
    text = pretrained_by(make_encoder, "byol", sampler="cluster")
    assert "saw the images alone, in batches by the clusters" in text


@pytest.mark.parametrize("arm", ["chosen", "instance", "label"])
@pytest.mark.parametrize("objective", ["cl_infonce", "soft", "byol"])
def test_it_names_the_teacher(make_encoder: MakeEncoder, arm: str, objective: str) -> None:
    teacher = {"vectors": "runs/clip|1`.parquet", "weight": 2.5}
    without, text = (
        " ".join((make_encoder(arm, pretrain=params) / "README.md").read_text().split())
        for params in (
            PretrainParams.model_validate({"objective": objective} | section)
            for section in ({}, {"teacher": teacher})
        )
    )
    assert "teacher" not in without
    assert "so it knows nothing beyond them" in without
    assert (
        r"Its teacher is the file of vectors runs/clip\|1\`.parquet (SHA-256 of the vectors 5e5e5e5e5e5e)"
        in text
    )
    assert "with weight 2.5" in text
    for untrue in ("the images alone", "on no others", "knows nothing beyond"):
        assert untrue not in text
    if (objective, arm) in (("cl_infonce", "instance"), ("byol", "chosen")):
        assert "Training saw the images and the vectors of its teacher, without labels or" in text
    if (objective, arm) == ("soft", "chosen"):
        assert (
            "the images and their attributes and their hashtags and the vectors of its teacher, without"
            in text
        )


def test_it_names_the_parameters_that_the_objective_reads(make_encoder: MakeEncoder) -> None:
    class Reading:
        """Parameters that notice what is read."""

        def __init__(self, params: PretrainParams) -> None:
            self.params, self.read = params, set[str]()

        def __getattr__(self, name: str) -> Any:
            self.read.add(name)
            return getattr(self.params, name)

    for name, objective in OBJECTIVES.items():
        reading = Reading(PretrainParams.model_validate({"objective": name}))
        objective.build(8, cast(PretrainParams, reading), DataInfo(clusters=2, attributes=2))
        known = {"form", "temperature", "projection_dim"}
        assert set(TRAITS[name].reads) == reading.read & known, name
        text = pretrained_by(make_encoder, name)
        assert {parameter for parameter in known if f"| {parameter} |" in text} == reading.read & known
