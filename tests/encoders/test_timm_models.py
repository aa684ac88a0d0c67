"""Networks of timm: their features, and names and image sizes that they do not take."""

from typing import Any

import pytest
import timm
import torch

from pipeline.encoders.base import Architecture
from pipeline.encoders.registry import architecture_of, build_encoder, build_plain_encoder
from pipeline.encoders.timm_models import in_timm_layout, takes_image_size

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "size", "features"),
    [
        ("resnet18", 33, 512),
        ("convnext_atto", 32, 320),
        ("vit_tiny_patch16_224", 48, 192),
        ("vit_small_patch14_dinov2.lvd142m", 56, 384),
        ("mobilenetv3_small_050", 32, 1024),  # more features than `num_features` says
        ("swin_tiny_patch4_window7_224", 64, 768),
        ("efficientvit_b0", 64, 1280),
    ],
)
def test_features_are_timm_s_pooled_pre_logits(name: str, size: int, features: int) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(architecture_of(f"timm/{name}", "auto", size)).eval()
    assert encoder.feature_dim == features
    sized: dict[str, Any] = {"img_size": size} if takes_image_size(name) else {}
    plain = timm.create_model(name, num_classes=0, **sized).eval()
    plain.load_state_dict(encoder.backbone.state_dict())
    images = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), plain(images), rtol=0, atol=0)


def test_the_generator_draws_the_weights() -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(build_plain_encoder(Architecture("timm/resnet10t", None, 32)).backbone.state_dict())
    first, same, other = (state["conv1.0.weight"] for state in drawn)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("name", "size", "sentence"),
    [
        ("timm/resnet5O", 32, r"^timm knows no network 'resnet5O': did you mean timm/resnet50 or timm/"),
        ("timm/qqqqqqqqqqqq", 32, r"^timm knows no network 'qqqqqqqqqqqq': see timm.list_models\(\)$"),
        (
            "timm/vit_small_patch14_dinov2",
            64,
            r"divides images into patches of 14 pixels, and 64 is not a multiple: choose 56 or 70 pixels",
        ),
        ("timm/vit_tiny_patch16_224", 8, "patches of 16 pixels, and 8 is not a multiple: choose 16 pixels"),
        ("timm/levit_128s", 8, "takes no images of 8 pixels"),
        (
            "timm/twins_svt_small",
            112,
            r"takes no images of 112 pixels \(.*\): choose another pretrain.image_size",
        ),
        ("timm/hf-hub:someone/network", 32, "must be one of patch_resnet, .*, or timm/ and the name"),
        ("timm/../../etc", 32, "must be one of patch_resnet"),
        ("fcn_resnet50", 32, "must be one of patch_resnet"),
    ],
)
def test_what_timm_does_not_take_is_refused_with_the_cure(name: str, size: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        build_plain_encoder(Architecture(name, None, size))


def test_the_image_size_changes_the_position_embeddings_alone() -> None:
    torch.manual_seed(0)
    large = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64)
    small = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32)
    resized = in_timm_layout(large.state_dict(), small)
    assert resized["pos_embed"].shape == small.state_dict()["pos_embed"].shape
    same = [
        key for key, value in resized.items() if torch.equal(value, large.state_dict().get(key, value * 0))
    ]
    assert set(resized) - set(same) == {"pos_embed"}
