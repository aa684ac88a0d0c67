"""The layers of an encoder in groups, from its input to its output: which of them stay, and how fast others
train."""

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from pipeline.encoders.base import Encoder

RESNET = {"stem": r"^conv1|^bn1", "blocks": r"^layer(\d+)"}
PATCH_RESNET = {"stem": r"^first", "blocks": [(r"^trunk\.(\d+)", None), (r"^whitening", (99999,))]}
"""In the form of timm's `group_matcher`, which its networks have themselves."""


def groups_of(backbone: nn.Module, *, stages: bool) -> list[list[str]]:
    """Returns the names of parameters and buffers by layer, or by stage where a network has stages."""
    from timm.models._manipulate import group_with_matcher

    tensors = [*backbone.named_parameters(), *backbone.named_buffers()]
    groups: Mapping[int, list[str]] = group_with_matcher(iter(tensors), _matcher(backbone, stages=stages))
    return [groups[number] for number in sorted(groups)]


def freeze_first(encoder: Encoder, share: float) -> None:
    """Keeps the weights and statistics of the first stages: `share` of their number, rounded down."""
    groups = groups_of(encoder.backbone, stages=True)
    frozen = groups[: math.floor(share * len(groups))]
    encoder.freeze({name for names in frozen for name in names})


def rate_factors(backbone: nn.Module, decay: float) -> dict[str, float]:
    """Returns the factor of the learning rate of each parameter: 1 for the last layer, `decay` times that for
    the one before it, and so on (Clark et al., arXiv 2003.10555, section 4)."""
    groups = groups_of(backbone, stages=False)
    return {name: decay ** (len(groups) - 1 - place) for place, names in enumerate(groups) for name in names}


def _matcher(backbone: nn.Module, *, stages: bool) -> Any:
    own = getattr(backbone, "group_matcher", None)
    if own is not None:
        return own(coarse=stages)
    return RESNET if hasattr(backbone, "layer1") else PATCH_RESNET
