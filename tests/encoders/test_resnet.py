import pytest
import torch
import torchvision
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from pipeline.encoders.base import Architecture
from pipeline.encoders.registry import architecture_of, build_encoder
from pipeline.encoders.resnet import SmallMapConv2d

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("stride", "side"), [(1, 4), (2, 2), (4, 1)])
def test_the_stem_decides_the_resolution(stride: int, side: int) -> None:
    encoder = build_encoder(Architecture("resnet18", stride, 32)).eval()
    shapes: list[torch.Size] = []
    last = encoder.backbone.get_submodule("layer4")
    last.register_forward_hook(lambda _m, _i, output: shapes.append(output.shape))
    with torch.no_grad():
        features = encoder(torch.zeros(2, 3, 32, 32))
    assert features.shape == (2, encoder.feature_dim) == (2, 512)
    assert shapes == [(2, 512, side, side)]


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d"])
def test_stride_four_is_torchvision_s_own_network(name: str, size: int) -> None:
    encoder = build_encoder(Architecture(name, 4, size)).double()
    plain = torchvision.models.get_model(name, weights=None).double()
    plain.fc = torch.nn.Identity()
    plain.load_state_dict(encoder.backbone.state_dict())
    images = torch.randn(2, 3, size, size, dtype=torch.float64)
    torch.testing.assert_close(plain.eval()(images), encoder.eval()(images), rtol=1e-9, atol=1e-12)


@given(
    kernel=st.integers(1, 7),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    height=st.integers(1, 8),
    width=st.integers(1, 8),
)
def test_on_every_map_it_is_the_convolution(
    kernel: int, stride: int, padding: int, height: int, width: int
) -> None:
    assume(min(height, width) + 2 * padding >= kernel)
    ours = SmallMapConv2d(3, 4, kernel, stride, padding, bias=False, dtype=torch.float64)
    plain = nn.Conv2d(3, 4, kernel, stride, padding, bias=False, dtype=torch.float64)
    plain.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, height, width, dtype=torch.float64)
    results = []
    for module in (ours, plain):
        leaf = images.clone().requires_grad_()
        output = module(leaf)
        output.square().sum().backward()
        results.append((output, leaf.grad, module.weight.grad))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


def test_the_last_stages_of_small_images_are_matrix_products() -> None:
    entry, inner = (SmallMapConv2d(1, 1, 3, stride, 1, bias=False) for stride in (2, 1))
    assert inner._crops(1, axis=0) == [slice(1, 2)]
    assert inner._crops(2, axis=0) == [slice(1, 3), slice(0, 2)]
    assert entry._crops(2, axis=0) == [slice(1, 3)]
    assert inner._crops(3, axis=0) == entry._crops(3, axis=0) == entry._crops(4, axis=0) == []


@pytest.mark.parametrize(("size", "stride"), [(32, 1), (47, 1), (48, 2), (64, 2), (128, 4), (224, 4)])
def test_auto_follows_the_image_size(size: int, stride: int) -> None:
    assert architecture_of("resnet18", "auto", size).stem_stride == stride
    assert architecture_of("resnet18", 2, size).stem_stride == 2
