"""Networks that begin with whitened image patches as filters.

The two classes hold nothing but plain torch: model cards show their source, so that the weights can be used
without this project.
"""

import torch
from torch import Tensor, nn


class WhitenedPatches(nn.Module):
    """Filters of 6 x 6 pixels, taken from images, and a whitened summary of their pooled responses.

    After Coates and Ng (2011): needs no labels and no gradient, see `pipeline.encoders.whitening`.
    """

    def __init__(self, filters: int, features: int, stride: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, filters, 6, stride).requires_grad_(False)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.summary = nn.Linear(2 * filters * 4, features)

    def responses(self, images: Tensor) -> Tensor:
        """Returns (N, 2 * filters, H, W): by how much each filter, and its negative, exceeds a threshold."""
        fit = self.patches(images)
        return torch.cat([fit - 0.3, -fit - 0.3], dim=1).relu()

    def pooled(self, images: Tensor) -> Tensor:
        pooled: Tensor = self.pool(self.responses(images))
        return pooled.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.summary(self.pooled(images))
        return features


class PatchResNet(nn.Module):
    """A small residual network on whitened patches; the features of both are concatenated and whitened.

    The last layer is the identity until it is fitted after training, for which there must be enough images.
    """

    def __init__(self, stride: int = 2) -> None:
        super().__init__()
        self.first = WhitenedPatches(32, 256, stride)
        self.trunk = nn.Sequential(
            nn.BatchNorm2d(64),
            *self.convolution(64, 32, kernel=1),
            self.Residual(32),
            *self.convolution(32, 64, nn.MaxPool2d(2, ceil_mode=True)),
            self.Residual(64),
            *self.convolution(64, 128, nn.MaxPool2d(2, ceil_mode=True)),
            self.Residual(128),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        self.whitening = nn.Linear(512 + 256, 512 + 256).requires_grad_(False)
        self.reset_whitening()

    def reset_whitening(self) -> None:
        nn.init.eye_(self.whitening.weight)
        nn.init.zeros_(self.whitening.bias)

    @staticmethod
    def convolution(channels: int, filters: int, *pool: nn.Module, kernel: int = 3) -> list[nn.Module]:
        convolution = nn.Conv2d(channels, filters, kernel, padding=kernel // 2, bias=False)
        return [convolution, *pool, nn.BatchNorm2d(filters), nn.ReLU()]

    class Residual(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.inner = nn.Sequential(
                *PatchResNet.convolution(channels, channels),
                *PatchResNet.convolution(channels, channels)[:-1],
            )

        def forward(self, maps: Tensor) -> Tensor:
            changes: Tensor = self.inner(maps)
            return (maps + changes).relu()

    def forward(self, images: Tensor) -> Tensor:
        responses = self.first.responses(images)
        whole = self.first.summary(self.first.pool(responses).flatten(1))
        features: Tensor = self.whitening(torch.cat([self.trunk(responses), whole], dim=1))
        return features
