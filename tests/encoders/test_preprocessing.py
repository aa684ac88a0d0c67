"""How images are prepared for weights that belong to an encoder's name."""

from typing import Any

import pytest

from pipeline.encoders.preprocessing import Preprocessing, usual_preprocessing


@pytest.mark.parametrize(
    ("file_name", "crop_pct"),
    [
        (None, 224 / 232),
        ("resnet50-11ad3fa6.pth", 224 / 232),
        ("resnet50-0676ba61.pth", 224 / 256),
        ("checkpoint.pth", 224 / 256),
    ],
)
def test_the_two_versions_of_torchvision_s_weights(file_name: str | None, crop_pct: float) -> None:
    found = usual_preprocessing("resnet50", file_name)
    assert (found.crop_pct, found.interpolation) == (crop_pct, "bilinear")
    assert found.mean == [0.485, 0.456, 0.406]


def test_weights_of_timm_by_their_tag() -> None:
    assert usual_preprocessing("timm/resnet50.a1_in1k").crop_pct == 0.95
    assert usual_preprocessing("timm/vit_base_patch16_clip_224.openai").mean[0] == pytest.approx(0.48145466)


@pytest.mark.parametrize(
    ("configuration", "notes"),
    [
        ({}, []),
        ({"crop_mode": "center", "interpolation": "bilinear"}, []),
        ({"crop_mode": None, "interpolation": None}, []),
        ({"crop_mode": "squash"}, ["their crop_mode is squash, and here the central square is taken"]),
        ({"crop_mode": "border"}, ["their crop_mode is border, and here the central square is taken"]),
        ({"interpolation": "lanczos"}, ["their interpolation is lanczos, and here it is bicubic"]),
        ({"crop_mode": 7, "interpolation": ["x"]}, ["their crop_mode is 7", "their interpolation is ['x']"]),
    ],
)
def test_what_is_done_otherwise_is_noted(configuration: dict[str, Any], notes: list[str]) -> None:
    found = Preprocessing.of_configuration(configuration)
    assert [note[: len(start)] for note, start in zip(found.notes, notes, strict=True)] == notes


def test_weights_of_timm_that_squash_images_are_noted_by_their_name() -> None:
    (note,) = usual_preprocessing("timm/convnext_base.fb_in22k_ft_in1k_384").notes
    assert note.startswith("their crop_mode is squash")
