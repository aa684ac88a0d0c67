"""torchvision ResNets whose first layers suit the image size."""

import torchvision
from torch import Tensor, nn


def resolved_stem_stride(stem_stride: int | str, image_size: int) -> int:
    """`auto` -> 1 below 48 pixels (as the papers do at 32), 2 below 128, else torchvision's own 4."""
    if isinstance(stem_stride, int):
        return stem_stride
    return 1 if image_size < 48 else 2 if image_size < 128 else 4


def build_encoder(name: str, stem_stride: int) -> "Encoder":
    """A ResNet by its torchvision name, without its classifier; weights from torch's global generator.

    `stem_stride`: 4 is torchvision's stem (7x7 at stride 2, max-pool); 1 and 2 are a 3x3 convolution at
    that stride without max-pool, for small images.
    """
    backbone = torchvision.models.get_model(name, weights=None)
    feature_dim = backbone.fc.in_features
    backbone.fc = nn.Identity()
    if stem_stride != 4:
        width = backbone.conv1.out_channels
        backbone.conv1 = nn.Conv2d(3, width, kernel_size=3, stride=stem_stride, padding=1, bias=False)
        nn.init.kaiming_normal_(backbone.conv1.weight, mode="fan_out", nonlinearity="relu")
        backbone.maxpool = nn.Identity()
    return Encoder(backbone, feature_dim)


class Encoder(nn.Module):
    """Images (N, 3, S, S), normalised -> features (N, feature_dim)."""

    def __init__(self, backbone: nn.Module, feature_dim: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.feature_dim = feature_dim

    def forward(self, images_NCSS: Tensor) -> Tensor:
        features_ND: Tensor = self.backbone(images_NCSS)
        return features_ND
