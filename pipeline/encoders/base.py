"""The interface of encoders: a backbone and its number of features."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from pipeline.encoders.timm_arguments import TimmArguments


class Encoder(nn.Module):
    """Maps normalised images (N, 3, S, S) to features (N, feature_dim)."""

    def __init__(self, backbone: nn.Module, feature_dim: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.feature_dim = feature_dim
        self._frozen_modules: list[str] = []

    def freeze(self, names: Collection[str]) -> None:
        """Keeps the parameters and buffers of the backbone with these names as they are.

        Modules that hold no others stay in evaluation mode, so that batch norms keep their statistics.
        """
        for name, parameter in self.backbone.named_parameters():
            if name in names:
                parameter.requires_grad_(False)
        for prefix, module in self.backbone.named_modules():
            own = [
                *module.named_parameters(prefix, recurse=False),
                *module.named_buffers(prefix, recurse=False),
            ]
            if own and all(name in names for name, _ in own):
                self._frozen_modules.append(prefix)

    def keep_statistics(self) -> None:
        """Lets all batch norms use their running statistics in training, too, and keep them."""
        for name, module in self.backbone.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                self._frozen_modules.append(name)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for name in self._frozen_modules:
            self.backbone.get_submodule(name).eval()
        return self

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
    has_adapter: bool = False
    """Whether a linear layer follows the network: see `pipeline.encoders.adapter`."""
    timm_arguments: TimmArguments | None = None
    """Of a network of timm that was built by more than its name."""
