"""The encoders by name, and the stride of their first layer by image size."""

import re
from dataclasses import replace
from typing import get_args

from pipeline.config.pretrain import TIMM_NAME, EncoderName
from pipeline.encoders.adapter import with_adapter
from pipeline.encoders.base import Architecture, Encoder
from pipeline.encoders.patches import PatchResNet, WhitenedPatches
from pipeline.encoders.resnet import build_resnet, use_small_map_convolutions
from pipeline.encoders.timm_models import PREFIX, build_timm
from pipeline.runtime.errors import listed

PATCH_RESNET = "patch_resnet"
UNTRAINED_ENCODER = "whitened_patches"
"""The encoder of the arm `untrained`, without trainable weights."""
NAMES: tuple[str, ...] = (*get_args(EncoderName), UNTRAINED_ENCODER)
"""The encoders that a folder may hold, beside those of timm."""
STEM_STRIDES = (1, 2, 4)
UNTRAINED_FILTERS, UNTRAINED_FEATURES = 160, 256
PATCH_RESNET_FEATURES = 768


def architecture_of(name: str, stem_stride: int | str, image_size: int) -> Architecture:
    """Returns the architecture with the stride that `auto` means for an image size.

    For ResNets it is 1 below 48 pixels (as the papers do at 32), 2 below 128, else 4 as in torchvision; for
    patches it is 2 below 64 pixels, else 4. Networks of timm have none.
    """
    if name.startswith(PREFIX):
        return Architecture(name, None, image_size)
    if isinstance(stem_stride, int):
        return Architecture(name, stem_stride, image_size)
    if name in (PATCH_RESNET, UNTRAINED_ENCODER):
        return Architecture(name, 2 if image_size < 64 else 4, image_size)
    return Architecture(name, 1 if image_size < 48 else 2 if image_size < 128 else 4, image_size)


def check_name(name: object) -> None:
    """Raises `ValueError` if `name` is not in `NAMES`, and does not begin as networks of timm do."""
    if name not in NAMES and not (isinstance(name, str) and re.fullmatch(TIMM_NAME, name)):
        raise ValueError(
            f"the encoder must be one of {listed(list(NAMES))}, or {PREFIX} and the name of a network of "
            f"timm, not {name!r:.80}"
        )


def build_encoder(architecture: Architecture) -> Encoder:
    """Builds the network of `build_plain_encoder`, faster on small images."""
    encoder = build_plain_encoder(architecture)
    if architecture.name in NAMES and architecture.name not in (PATCH_RESNET, UNTRAINED_ENCODER):
        use_small_map_convolutions(encoder.backbone)
    return encoder


def build_plain_encoder(architecture: Architecture) -> Encoder:
    """Builds an encoder with weights from torch's global generator.

    `pipeline.training.whitened_layers` sets the weights that are computed from images. Raises `ValueError`
    for an unknown name, and for a stride or image size that the network does not take.
    """
    if architecture.has_adapter:
        return with_adapter(build_plain_encoder(replace(architecture, has_adapter=False)))
    name, stem_stride = architecture.name, architecture.stem_stride
    check_name(name)
    if name.startswith(PREFIX):
        return build_timm(name, architecture.image_size, architecture.timm_arguments)
    # True and 2.0 equal valid strides, but convolutions reject them.
    if type(stem_stride) is not int or stem_stride not in STEM_STRIDES:
        raise ValueError(f"the stem's stride must be 1, 2 or 4, not {stem_stride!r:.80}")
    if name == PATCH_RESNET:
        return Encoder(PatchResNet(stem_stride), PATCH_RESNET_FEATURES)
    if name == UNTRAINED_ENCODER:
        return Encoder(
            WhitenedPatches(UNTRAINED_FILTERS, UNTRAINED_FEATURES, stem_stride), UNTRAINED_FEATURES
        )
    return build_resnet(name, stem_stride)
