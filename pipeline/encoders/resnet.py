"""torchvision ResNets with a first layer that suits the image size."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.encoders.base import Encoder


def build_resnet(name: str, stem_stride: int) -> Encoder:
    """Builds a ResNet by its torchvision name, without its classifier.

    Weights are drawn by torch's global generator; nothing is downloaded. `stem_stride`: 4 is torchvision's
    stem (7x7 at stride 2, max-pool); 1 and 2 are a 3x3 convolution at that stride without max-pool, for small
    images.
    """
    # Imported here: it loads torch's compiler, and takes as long as torch itself.
    from torchvision.models import get_model

    backbone = get_model(name, weights=None)
    feature_dim = backbone.fc.in_features
    backbone.fc = nn.Identity()
    if stem_stride != 4:
        width = backbone.conv1.out_channels
        backbone.conv1 = nn.Conv2d(3, width, kernel_size=3, stride=stem_stride, padding=1, bias=False)
        nn.init.kaiming_normal_(backbone.conv1.weight, mode="fan_out", nonlinearity="relu")
        backbone.maxpool = nn.Identity()
    return Encoder(backbone, feature_dim)


class SmallMapConv2d(nn.Conv2d):
    """A convolution that becomes one matrix product if its kernel covers the whole input at every position.

    This is the case in the last stages of a ResNet with torchvision's stem on images of 32 or 64 pixels,
    whose maps are 2 x 2 or 1 x 1. A plain convolution spends most of a CPU's time on padding there.
    """

    def forward(self, images_NCHW: Tensor) -> Tensor:
        height, width = images_NCHW.shape[2:]
        rows, columns = self._crops(height, axis=0), self._crops(width, axis=1)
        if not (rows and columns):
            return super().forward(images_NCHW)
        # In channels-last format, as in training, only the crops are copied, in the type of the product.
        weight_OHWC = _in_autocast_type(self.weight).permute(0, 2, 3, 1)
        crops = [weight_OHWC[:, row, column] for row in rows for column in columns]
        pixels_NP = images_NCHW.permute(0, 2, 3, 1).flatten(1)
        outputs_NQ = functional.linear(pixels_NP, torch.stack(crops).flatten(0, 1).flatten(1))
        outputs_NHWC: Tensor = outputs_NQ.unflatten(1, (len(rows), len(columns), -1))
        return outputs_NHWC.permute(0, 3, 1, 2)

    def _crops(self, length: int, axis: int) -> list[slice]:
        """Returns each output position's taps inside the input; empty if one does not cover all of it."""
        kernel, padding, stride = self.kernel_size[axis], int(self.padding[axis]), self.stride[axis]
        starts = range(padding, padding - 1 - (length + 2 * padding - kernel), -stride)
        if min(starts) < 0 or max(starts) + length > kernel:
            return []
        return [slice(start, start + length) for start in starts]


def _in_autocast_type(values: Tensor) -> Tensor:
    kind = values.device.type
    return values.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else values


def use_small_map_convolutions(backbone: nn.Module) -> None:
    """Replaces each convolution with a kernel above 1 x 1 by a `SmallMapConv2d` with the same weights."""
    for parent in list(backbone.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Conv2d and child.kernel_size != (1, 1) and child.groups == 1:
                # On the meta device, so that the global generator is not advanced.
                result = SmallMapConv2d(
                    child.in_channels,
                    child.out_channels,
                    cast(tuple[int, int], child.kernel_size),
                    cast(tuple[int, int], child.stride),
                    cast(tuple[int, int], child.padding),
                    bias=False,
                    device="meta",
                )
                result.weight = child.weight
                setattr(parent, name, result)
