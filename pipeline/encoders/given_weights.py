"""Weights of timm, torchvision, this project, or elsewhere, fitted into an encoder.

Their names may have prefixes, and their types and shapes may differ: see docs/your-weights.md.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.encoders.base import Encoder
from pipeline.encoders.preprocessing import download_address
from pipeline.encoders.timm_models import PREFIX, in_timm_layout, size_of_weights
from pipeline.encoders.weights_files import WeightsRefused
from pipeline.runtime.errors import listed, shown

LARGER_NETWORK = 0.01
"""Share of the network's weights from which further ones in its modules are those of a larger network."""
OF_ANOTHER_SIZE = (
    "is for images of {size} pixels, and timm resizes the weights of {name} to no other size: set "
    "pretrain.image_size={size}"
)
_OF_TRANSFORMERS = re.compile(r"(?:^|\.)(?:embeddings|embedder)\.")
"""A part of names in which only transformers keeps the first layers of a network."""
HEADS = ("fc", "head", "heads", "head_dist", "classifier")
CONVERTED = (torch.float16, torch.bfloat16, torch.float64)


def fit_weights(
    encoder: Encoder,
    name: str,
    tensors: Mapping[str, Tensor],
    configuration: Mapping[str, Any] | None = None,
) -> list[str]:
    """Loads `tensors` into an encoder that was built by `name`; returns notes, one clause each.

    `configuration` is the `config.json` beside the weights.
    A prefix of all names is removed, classifiers and heads are left out, position embeddings of timm's
    networks are resized, and other floating-point types are converted. Raises `WeightsRefused` for weights of
    another network, and for values that are not finite.
    """
    backbone = encoder.backbone
    expected = backbone.state_dict()
    state, notes = _in_names_of(backbone, tensors, expected)
    if name.startswith(PREFIX):
        before, state = state, in_timm_layout(state, backbone)
        if resized := [key for key in state if key in before and state[key].shape != before[key].shape]:
            notes.append(f"resized to the size of images: {listed(resized, 4)}")
    # Files of old versions of torch lack the counts of batches, which have no effect.
    needed = [key for key in expected if not key.endswith("num_batches_tracked")]
    if missing := [key for key in needed if key not in state]:
        if _is_of_transformers(tensors, configuration or {}):
            raise WeightsRefused(
                "is in the layout of Hugging Face's transformers, where weights have other names: take the "
                f"file of timm or torchvision with the same weights, for {name} {download_address(name)}"
            )
        raise WeightsRefused(
            f"holds {len(needed) - len(missing):,} of the {len(needed):,} weights of {name}; "
            f"{listed(missing, 3)} are missing: name weights of that network, or their network in "
            "pretrain.encoder"
        )
    if _is_of_a_larger_network(state, expected):
        raise WeightsRefused(
            f"holds all weights of {name} and more layers between them: they are of a larger network, which "
            "pretrain.encoder must name"
        )
    if further := sorted(set(state) - set(expected)):
        notes.append(
            f"{len(further):,} of them have no place in the encoder and are left out: {listed(further, 4)}"
        )
    state = {key: state[key] for key in expected if key in state}
    if converted := {
        str(value.dtype).removeprefix("torch.") for value in state.values() if value.dtype in CONVERTED
    }:
        notes.append(f"they are converted from {listed(sorted(converted))} to float32")
    checked = {key: _checked(key, state[key], expected[key], name) for key in state}
    backbone.load_state_dict(expected | checked)
    return notes


def _is_of_transformers(tensors: Mapping[str, Tensor], configuration: Mapping[str, Any]) -> bool:
    """Returns whether a `config.json`, or the names in a file without one, are those of transformers."""
    if "model_type" in configuration and "architecture" not in configuration:
        return True
    return any(map(_OF_TRANSFORMERS.search, tensors))


def _in_names_of(
    backbone: nn.Module, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Returns the tensors by the names of the backbone, and notes.

    A wrapped network has all its names below one, such as `module.` or `encoder_q.`; in an `nn.Sequential` of
    its children, such as lightly's, their places stand for their names.
    """
    children = [name for name, _ in backbone.named_children()]
    numbered = {
        f"{children.index(key.split('.')[0])}.{key.partition('.')[2]}": key for key in expected if "." in key
    }
    prefix, found = _prefix(tensors, expected)
    numbered_prefix, found_by_number = _prefix(tensors, numbered)
    if found_by_number > found:
        below = {key.removeprefix(numbered_prefix): value for key, value in tensors.items()}
        named = {numbered.get(key, key): value for key, value in below.items()}
        return named, ["the numbers in their names are the places of the network's parts"]
    below = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    others = {key: value for key, value in tensors.items() if not key.startswith(prefix)}
    return others | below, [f"the prefix {prefix!r:.80} of their names is removed"] if prefix else []


def _prefix(tensors: Mapping[str, Tensor], expected: Collection[str]) -> tuple[str, int]:
    """Returns the prefix under which most names are expected ones, and how many they are."""
    votes: Counter[str] = Counter()
    deepest = max(name.count(".") + 1 for name in expected)
    for key in tensors:
        parts = key.split(".")
        # No longer end of a name can be an expected one, and names may have thousands of parts.
        for start in range(max(0, len(parts) - deepest), len(parts)):
            if ".".join(parts[start:]) in expected:
                votes["".join(f"{part}." for part in parts[:start])] += 1
    # Without any expected name, the layout may be that of the authors, which timm knows.
    prefix = max(votes, key=lambda each: (votes[each], -len(each)), default="")
    return prefix, votes[prefix]


def _is_of_a_larger_network(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    """Returns whether further weights lie in the modules of the network: ResNet-34 has those of ResNet-18."""
    modules = {key.split(".")[0] for key in expected if "." in key}
    further = [
        state[key].numel()
        for key in set(state) - set(expected)
        if key.split(".")[0] in modules and not set(key.split(".")) & set(HEADS)
    ]
    return sum(further) > LARGER_NETWORK * sum(value.numel() for value in expected.values())


def _checked(key: str, tensor: Tensor, expected: Tensor, name: str) -> Tensor:
    """Returns a weight as float32, if it fits its place. Raises `WeightsRefused`."""
    if tensor.shape != expected.shape:
        if tensor.ndim == expected.ndim == 4 and tensor.shape[1] == 1 and expected.shape[1] == 3:
            raise WeightsRefused(
                "is for images of one channel, and images here have three: name weights for colour"
            )
        if name.startswith(PREFIX) and (size := size_of_weights(name, key, tensor.shape)):
            raise WeightsRefused(OF_ANOTHER_SIZE.format(size=size, name=name))
        if not name.startswith(PREFIX) and key == "conv1.weight" and tensor.shape[-2:] == (3, 3):
            raise WeightsRefused(
                "has a first layer of 3 x 3, for small images: set pretrain.stem_stride to its stride, 1 or 2"
            )
        raise WeightsRefused(
            f"holds {shown(key)} of shape {_sizes(tensor)}, not {_sizes(expected)} as {name}: name weights "
            "of that network, or their network in pretrain.encoder"
        )
    if not expected.is_floating_point():
        return tensor.to(expected.dtype)
    if tensor.dtype not in (torch.float32, *CONVERTED):
        kind = str(tensor.dtype).removeprefix("torch.")
        raise WeightsRefused(f"holds {shown(key)} as {kind}: save it as float32")
    tensor = tensor.float()
    if not tensor.isfinite().all():
        raise WeightsRefused(f"holds numbers in {shown(key)} that are not finite: its training diverged")
    if key.endswith("running_var") and (tensor < 0).any():
        raise WeightsRefused(f"holds variances below 0 in {shown(key)}: it is damaged")
    return tensor


def _sizes(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
