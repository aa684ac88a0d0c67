import pytest
import torch
import torchvision

from pipeline.encoders import build_encoder, resolved_stem_stride


@pytest.mark.parametrize(("stride", "side"), [(1, 4), (2, 2), (4, 1)])
def test_the_stem_decides_the_resolution(stride: int, side: int) -> None:
    encoder = build_encoder("resnet18", stride).eval()
    shapes: list[torch.Size] = []
    encoder.backbone.layer4.register_forward_hook(lambda _m, _i, output: shapes.append(output.shape))
    with torch.no_grad():
        features = encoder(torch.zeros(2, 3, 32, 32))
    assert features.shape == (2, encoder.feature_dim) == (2, 512)
    assert shapes == [(2, 512, side, side)]


def test_stride_four_is_torchvision_s_own_network() -> None:
    encoder = build_encoder("resnet18", 4)
    plain = torchvision.models.resnet18(weights=None)
    plain.fc = torch.nn.Identity()
    plain.load_state_dict(encoder.backbone.state_dict())
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(plain.eval()(images), encoder.eval()(images))


@pytest.mark.parametrize(("size", "stride"), [(32, 1), (47, 1), (48, 2), (64, 2), (128, 4), (224, 4)])
def test_auto_follows_the_image_size(size: int, stride: int) -> None:
    assert resolved_stem_stride("auto", size) == stride
    assert resolved_stem_stride(2, size) == 2
