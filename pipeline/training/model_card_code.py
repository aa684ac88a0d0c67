"""How a model card describes an encoder's network, and the code that builds and feeds it without this
project."""

import inspect
from collections.abc import Mapping
from typing import Any

from pipeline.dataset.value_range import GDAL_NODATA, NO_DATA, NO_DATA_FROM, USUAL_MAXIMA
from pipeline.encoders.patches import PatchResNet, WhitenedPatches
from pipeline.encoders.registry import (
    PATCH_RESNET,
    UNTRAINED_ENCODER,
    UNTRAINED_FEATURES,
    UNTRAINED_FILTERS,
)

STEM_WIDTH = 64
"""Channels of the first layer of every ResNet."""


def library(config: Mapping[str, Any]) -> str:
    """Whose network it is."""
    return "pytorch" if _is_own(config) else "torchvision"


def network(config: Mapping[str, Any]) -> str:
    stride = config["stem_stride"]
    patches = f"whitened 6 x 6 patches of train images as fixed filters at stride {stride}"
    match config["encoder"]:
        case "whitened_patches":
            return f"{patches}, their responses pooled to 2 x 2 and whitened"
        case "patch_resnet":
            return f"{patches}, a small residual network on their responses, and a summary of them beside it"
        case resnet:
            return f"torchvision's `{resnet}` without its classifier; {_stem(stride)}"


def _stem(stride: int) -> str:
    if stride == 4:
        return "its first layers are torchvision's own"
    return f"its first layer is a 3 x 3 convolution at stride {stride} without max-pool, for small images"


def ways_to_build(config: Mapping[str, Any]) -> str:
    """Markdown with blocks of code, each of which makes the network `encoder` with its weights."""
    if _is_own(config):
        return f"With torch:\n\n{_block(_with_torch(config))}"
    return (
        f"With torchvision:\n\n{_block(_with_torchvision(config))}\n\n"
        f"Or with timm, which gives the same features:\n\n{_block(_with_timm(config))}"
    )


def _is_own(config: Mapping[str, Any]) -> bool:
    return config["encoder"] in (PATCH_RESNET, UNTRAINED_ENCODER)


def _block(code: str) -> str:
    return f"```python\n{code}\n```"


def _with_torch(config: Mapping[str, Any]) -> str:
    """The classes stand in the card as they stand in the project."""
    if config["encoder"] == PATCH_RESNET:
        classes, construction = [WhitenedPatches, PatchResNet], f"PatchResNet({config['stem_stride']})"
    else:
        sizes = f"{UNTRAINED_FILTERS}, {UNTRAINED_FEATURES}, {config['stem_stride']}"
        classes, construction = [WhitenedPatches], f"WhitenedPatches({sizes})"
    sources = "\n\n".join(inspect.getsource(kind) for kind in classes)
    return f"""import torch
from safetensors.torch import load_file
from torch import Tensor, nn


{sources}

encoder = {construction}
encoder.eval().load_state_dict(load_file("encoder.safetensors"))"""


def _with_torchvision(config: Mapping[str, Any]) -> str:
    names, modules = _replaced(config)
    return f"""import torchvision
from safetensors.torch import load_file
from torch import nn

encoder = torchvision.models.{config["encoder"]}()
{", ".join([*names, "encoder.fc"])} = {", ".join([*modules, "nn.Identity()"])}
encoder.eval().load_state_dict(load_file("encoder.safetensors"))"""


def _with_timm(config: Mapping[str, Any]) -> str:
    names, modules = _replaced(config)
    stem = f"{', '.join(names)} = {', '.join(modules)}\n" if names else ""
    return f"""import timm
from safetensors.torch import load_file
from torch import nn

encoder = timm.create_model("{config["encoder"]}", num_classes=0)
{stem}encoder.eval().load_state_dict(load_file("encoder.safetensors"))"""


def _replaced(config: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    if config["stem_stride"] == 4:
        return [], []
    convolution = f"nn.Conv2d(3, {STEM_WIDTH}, 3, {config['stem_stride']}, 1, bias=False)"
    return ["encoder.conv1", "encoder.maxpool"], [convolution, "nn.Identity()"]


def features_of_a_picture(config: Mapping[str, Any]) -> str:
    """Code that prepares a picture as ingest and evaluation do, and computes its features."""
    return f"""import numpy
import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional


def in_8_bits(image):
    values = numpy.asarray(image).astype(float)
    no_data = {list(NO_DATA)}
    if declared := getattr(image, "tag_v2", {{}}).get({GDAL_NODATA}):
        no_data.append(float(str(declared).strip(" \\0")))
    missing = ~(abs(values) < {NO_DATA_FROM:g}) | numpy.isin(values, no_data)
{_range_of_values(config)}
    shares = (numpy.where(missing, low, values) - low) / ((high - low) or 1)
    return Image.fromarray((255 * shares).clip(0, 255).round().astype(numpy.uint8))


def in_rgb(image):
    if image.mode == "F" or image.mode.startswith("I"):
        image = in_8_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def middle(image, width, height):
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def prepared(path, size={config["image_size"]}):
    with Image.open(path) as opened:
        opened.draft("RGB", (2 * size, 2 * size))  # a JPEG is scaled down while it is decoded
        ImageOps.exif_transpose(opened, in_place=True)
        image = in_rgb(opened)
    shorter = min(image.size)
    if shorter > size:
        width, height = (round(side * size / shorter) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    side = min(image.size)
    image = middle(image, min(image.width, 2 * side), min(image.height, 2 * side))  # as it is stored
    square = functional.pil_to_tensor(middle(image, side, side))
    pixels = functional.resize(square[None] / 255, [size, size], antialias=True)
    return functional.normalize(pixels, {config["mean"]}, {config["std"]})


with torch.inference_mode():
    features = encoder(prepared("picture.jpg"))  # (1, {config["feature_dim"]})"""


def _range_of_values(config: Mapping[str, Any]) -> str:
    if config.get("value_range") is not None:
        low, high = config["value_range"]
        return f"    low, high = {low}, {high}"
    return f"""    low, high = values[~missing].min(), values[~missing].max()
    usual = [largest for largest in {USUAL_MAXIMA} if largest / 4 < high <= largest]
    if low >= 0 and usual:
        low, high = 0, usual[0]"""
