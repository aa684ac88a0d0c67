"""The interface of encoders: a backbone and its number of features."""

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
