"""Weights that a user names in `pretrain.weights`: of timm, torchvision, this project, or elsewhere.

They may be untrusted: pickles are read by torch's loader for weights only, which runs no code.
"""

import pickle
import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.encoders.base import Encoder
from pipeline.encoders.files import MOST_OF_CONFIG, MOST_OF_WEIGHTS
from pipeline.encoders.timm_models import PREFIX, in_timm_layout
from pipeline.runtime.errors import first_line, listed, shown, system_error_message
from pipeline.runtime.json_text import parse_json
from pipeline.storage.files import sha256_of_file
from pipeline.storage.schema import ENCODER_CONFIG, ENCODER_WEIGHTS
from pipeline.untrusted.safe_paths import SafePath
from pipeline.untrusted.tensor_files import LENGTH_BYTES, check_header

FILE_NAMES = (ENCODER_WEIGHTS, "model.safetensors", "pytorch_model.bin")
"""Names of weights in a folder: of this project, and of the Hugging Face Hub."""
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")
WRAPPERS = (
    *("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model"),
    *("teacher", "student", "net", "module", "encoder"),
)
"""Keys under which training scripts keep the weights in a file, averaged ones first."""
NO_WEIGHTS = {
    b"version https://git-lfs": "is a pointer of Git LFS and not the file: run `git lfs pull`",
    b"<": "is a web page and not the file: download it by its direct address",
}
"""What files of weights turn out to be, by their beginnings."""
LARGER_NETWORK = 0.01
"""Share of the network's weights from which further ones in its modules are those of a larger network."""
HEADS = ("fc", "head", "heads", "head_dist", "classifier")
CONVERTED = (torch.float16, torch.bfloat16, torch.float64)


class WeightsRefused(ValueError):
    """Raised if weights cannot be used; the message is the reason, as a clause without a subject."""


@dataclass(frozen=True)
class WeightsFile:
    """Weights as they were read."""

    tensors: Mapping[str, Tensor]
    sha256: str
    configuration: Mapping[str, Any] | None
    """`config.json` of a folder."""
    notes: list[str] = field(default_factory=list)


def weights_sha256(path: Path) -> str:
    """Returns the `WeightsFile.sha256` of a file or folder. Otherwise like `read_weights_file`."""
    file, _ = _located(path)
    with SafePath(file).pinned() as pinned:
        return sha256_of_file(pinned)


def read_weights_file(path: Path) -> WeightsFile:
    """Reads a file, or the weights in a folder with a `config.json`.

    Raises `WeightsRefused`, and `OSError` for a fault of the machine.
    """
    path, configuration = _located(path)
    with SafePath(path).pinned() as pinned:
        size = pinned.stat().st_size
        if size > MOST_OF_WEIGHTS:
            raise WeightsRefused(f"holds more than {MOST_OF_WEIGHTS >> 30} GiB")
        sha256 = sha256_of_file(pinned)
        loaded = _safetensors(pinned) if path.suffix == ".safetensors" else _pickled(pinned)
    tensors, notes = _tensors_in(loaded)
    return WeightsFile(tensors, sha256, configuration, notes)


def fit_weights(encoder: Encoder, name: str, tensors: Mapping[str, Tensor]) -> list[str]:
    """Loads `tensors` into an encoder that was built by `name`; returns notes, one clause each.

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


def _located(path: Path) -> tuple[Path, Mapping[str, Any] | None]:
    """Returns the file of weights that a path names, and the configuration if the path is a folder."""
    if path.is_dir():
        return _in_folder(path)
    if not path.exists():
        raise WeightsRefused(
            "does not exist: name a file such as model.safetensors, or a folder that holds one"
        )
    if path.suffix not in SUFFIXES:
        raise WeightsRefused(f"has no ending of a file of weights: it must be one of {', '.join(SUFFIXES)}")
    return path, None


def _in_folder(folder: Path) -> tuple[Path, Mapping[str, Any]]:
    """Returns the file of weights in a folder, and the folder's configuration."""
    found = [folder / name for name in FILE_NAMES if (folder / name).is_file()]
    if not found:
        raise WeightsRefused(f"holds none of {', '.join(FILE_NAMES)}: name the file of weights itself")
    content = None
    if SafePath(folder / ENCODER_CONFIG).is_there():
        content = SafePath(folder / ENCODER_CONFIG).read_whole(MOST_OF_CONFIG)
    if content is None:
        raise WeightsRefused(
            f"holds no {ENCODER_CONFIG} of at most {MOST_OF_CONFIG >> 10} KiB: name the file of weights; "
            "images are then prepared as for the weights that belong to pretrain.encoder"
        )
    try:
        configuration = parse_json(content)
    except ValueError as error:
        raise WeightsRefused(f"has a damaged {ENCODER_CONFIG} ({first_line(error)})") from None
    if not isinstance(configuration, dict):
        raise WeightsRefused(f"has a {ENCODER_CONFIG} that holds no object")
    return found[0], configuration


def _safetensors(path: Path) -> object:
    try:
        with open(path, "rb") as file:
            check_header(file.read(LENGTH_BYTES))
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        raise WeightsRefused(
            f"is damaged, or no safetensors file ({first_line(error)}): download it again"
        ) from None


def _pickled(path: Path) -> object:
    with open(path, "rb") as file:
        beginning = file.read(64)
    for start, what in NO_WEIGHTS.items():
        if beginning.lstrip().lower().startswith(start):
            raise WeightsRefused(what)
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightsRefused(
            "holds more than weights, such as code, which is not run, or is damaged: save the state dict "
            "alone, by torch.save(model.state_dict(), ...) or as safetensors"
        ) from None
    except Exception as error:  # a damaged file can raise almost anything
        if system_error_message(error):
            raise
        if "TorchScript" in str(error):
            raise WeightsRefused(
                "is a TorchScript program, which is not run: save its weights, by "
                "torch.save(torch.jit.load(...).state_dict(), ...)"
            ) from None
        raise WeightsRefused(f"is damaged ({first_line(error):.120}): download it again") from None


def _tensors_in(loaded: object) -> tuple[dict[str, Tensor], list[str]]:
    """Returns the weights by name, from under the key where a training script kept them, and notes."""
    notes: list[str] = []
    for _ in range(len(WRAPPERS)):
        if not isinstance(loaded, dict):
            break
        tensors = {
            key: value for key, value in loaded.items() if isinstance(key, str) and isinstance(value, Tensor)
        }
        inner = [key for key in WRAPPERS if isinstance(loaded.get(key), dict)]
        if tensors and not inner:
            return tensors, notes
        if not inner:
            break
        if len(inner) > 1:
            notes.append(f"of {listed(inner)} in the file, {inner[0]} is taken")
        loaded = loaded[inner[0]]
    raise WeightsRefused("holds no weights by name: save the state dict of the network")


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
    for key in tensors:
        parts = key.split(".")
        for start in range(len(parts)):
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
