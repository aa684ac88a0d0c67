"""Networks of timm by their names, such as `timm/vit_small_patch14_dinov2.lvd142m`.

The features of a network are what timm calls pooled pre-logits, its output with `num_classes=0`: for a vision
transformer its class token or the mean of its tokens, whichever its weights were trained with. timm is
imported when it is needed, since that takes seconds.
"""

import difflib
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.encoders.base import Encoder
from pipeline.encoders.timm_arguments import TimmArguments
from pipeline.runtime.errors import UserError, first_line

PREFIX = "timm/"
NEAREST_NAMES = 3


def build_timm(
    name: str, image_size: int, arguments: TimmArguments | None = None, *, downloaded: bool = False
) -> Encoder:
    """Builds a network by its name with `PREFIX`, for images of `image_size` pixels, without a classifier.

    Weights are drawn by torch's global generator, or are timm's own if `downloaded`; without that nothing is
    read from a network. Raises `ValueError` for an unknown name, and for arguments or an image size that the
    network does not take; with `downloaded`, whatever timm raises.
    """
    model_name = model_name_of(name)
    feature_dim = _feature_dim(_planned(model_name, name, image_size, arguments), name, image_size)
    return Encoder(_created(model_name, image_size, arguments, downloaded), feature_dim)


def model_name_of(name: str) -> str:
    """Returns timm's name of a network. Raises `ValueError` with the nearest ones for an unknown one."""
    from timm.models import is_model, list_models

    model_name = name.removeprefix(PREFIX)
    architecture = model_name.split(".")[0]
    if is_model(architecture):
        return model_name
    near = difflib.get_close_matches(architecture, list_models(), NEAREST_NAMES)
    nearest = (
        f"did you mean {' or '.join(PREFIX + other for other in near)}?" if near else "see timm.list_models()"
    )
    raise ValueError(f"timm knows no network {architecture!r:.80}: {nearest}")


def takes_image_size(model_name: str) -> bool:
    """Returns whether position embeddings or windows depend on the image size, an argument of the network."""
    return bool(pretrained_configuration(model_name).get("fixed_input_size"))


def pretrained_configuration(model_name: str) -> Mapping[str, Any]:
    """Returns timm's `pretrained_cfg` of the weights that belong to the name; empty if it knows none.

    Without a tag it is that of timm's default weights, and with an unknown tag that of the network.
    """
    from timm.models import get_pretrained_cfg

    for known in (model_name, model_name.split(".")[0]):
        try:
            configuration = get_pretrained_cfg(known)
        except RuntimeError:
            continue  # an unknown tag
        if configuration is not None:
            configuration_of: dict[str, Any] = configuration.to_dict()
            return configuration_of
    return {}


def in_timm_layout(tensors: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Returns weights in the names and shapes of `model`, by timm's own filter for checkpoints of its family.

    It renames the layers of the authors' checkpoints, and resizes position embeddings. Weights that it cannot
    read are returned as they are.
    """
    family = sys.modules[type(model).__module__]
    convert = getattr(family, "checkpoint_filter_fn", None)
    if convert is None:
        return tensors
    try:
        converted: dict[str, Tensor] = convert(dict(tensors), model)
    except Exception:
        return tensors  # the caller compares names and shapes
    return converted


def usual_size(name: str) -> int | None:
    """Returns the side of the images for which a name's weights are made, or None if timm does not know."""
    size: int | None = (pretrained_configuration(model_name_of(name)).get("input_size") or (3, None))[1]
    return size


def size_of_weights(name: str, key: str, shape: torch.Size) -> int | None:
    """Returns the image size at which a network has a weight of this shape, if that is the size of its own
    weights."""
    size = usual_size(name)
    if size is None:
        return None
    own = _planned(model_name_of(name), name, size).state_dict().get(key)
    return size if own is not None and own.shape == shape else None


def _planned(
    model_name: str, name: str, image_size: int, arguments: TimmArguments | None = None
) -> nn.Module:
    """Returns the network on the device `meta`. Raises `ValueError` for an image size or arguments that it
    can't take."""
    try:
        with torch.device("meta"):
            plain = _created(model_name, image_size)
    except (RuntimeError, AssertionError, ValueError, IndexError, ZeroDivisionError) as error:
        raise _takes_no_images(name, image_size, error) from None
    if arguments is None:
        return plain
    try:
        with torch.device("meta"):
            return _created(model_name, image_size, arguments)
    except Exception as error:  # whatever the network's class raises, such as KeyError for an unknown layer
        raise ValueError(
            f"is of {name} with {arguments}, which timm does not build ({first_line(error)})"
        ) from None


def _takes_no_images(name: str, image_size: int, error: Exception) -> ValueError:
    why = f" ({first_line(error)})" if str(error) else ""
    return ValueError(
        f"{name} takes no images of {image_size} pixels{why}: choose another pretrain.image_size"
    )


def checkpoint_gradients(encoder: Encoder) -> None:
    """Lets the network compute its activations again for the gradient. Raises `UserError` if it can't, or if
    its batch norms would then count each batch twice."""
    network: Any = encoder.backbone
    if any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
        for module in network.modules()
    ):
        raise UserError(
            "pretrain.gradient_checkpointing: the batch norms of this network would count each batch twice: "
            "start from pretrain.weights, whose statistics stay, or leave it at false and set "
            "pretrain.micro_batch"
        )
    try:
        network.set_grad_checkpointing()
    except (AttributeError, AssertionError):
        raise UserError(
            "pretrain.gradient_checkpointing: timm does not offer it for this network: leave it at false, "
            "and set pretrain.micro_batch"
        ) from None


def _created(
    model_name: str, image_size: int, arguments: TimmArguments | None = None, downloaded: bool = False
) -> nn.Module:
    import timm

    given: dict[str, Any] = {"img_size": image_size} if takes_image_size(model_name) else {}
    if arguments is not None:
        given |= arguments.given()
    model: nn.Module = timm.create_model(model_name, pretrained=downloaded, num_classes=0, **given)
    return model


def _feature_dim(model: nn.Module, name: str, image_size: int) -> int:
    """Returns the number of features, by a forward pass on the device `meta`."""
    patch_size = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    patch = patch_size[0] if isinstance(patch_size, tuple) else 1
    if image_size % patch:
        below = image_size // patch * patch
        choices = f"{below} or {below + patch}" if below else f"{patch}"
        raise ValueError(
            f"{name} divides images into patches of {patch} pixels, and {image_size} is not a multiple: "
            f"choose {choices} pixels (pretrain.image_size)"
        )
    try:
        features_ND = model.eval()(torch.empty(2, 3, image_size, image_size, device="meta"))
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        raise _takes_no_images(name, image_size, error) from None
    return int(features_ND.shape[1])
