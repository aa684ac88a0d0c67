"""How images are prepared for weights that belong to an encoder's name."""

import pytest

from pipeline.encoders.preprocessing import usual_preprocessing


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
