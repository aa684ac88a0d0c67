"""The interface of encoders: a backbone and its number of features."""

from dataclasses import dataclass

from torch import Tensor, nn


class Encoder(nn.Module):
    """Maps normalised images (N, 3, S, S) to features (N, feature_dim)."""

    def __init__(self, backbone: nn.Module, feature_dim: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.feature_dim = feature_dim

    def forward(self, images_NCSS: Tensor) -> Tensor:
        features_ND: Tensor = self.backbone(images_NCSS)
        return features_ND


@dataclass(frozen=True)
class Architecture:
    """What determines a network besides its weights."""

    name: str
    """Value of `pretrain.encoder`, or the name of the reference without training."""
    stem_stride: int | None
    """Stride of the first layer; None for networks of timm, which have their own."""
    image_size: int
    """Side of the images in pixels."""
