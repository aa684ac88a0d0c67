"""Files of weights that a user names in `pretrain.weights`: what is in them.

They may be untrusted: pickles are read by torch's loader for weights only, which runs no code; objects of
other kinds beside the weights are left out, or refused.
"""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pipeline.encoders.files import MOST_OF_CONFIG, MOST_OF_WEIGHTS
from pipeline.runtime.errors import first_line, listed, shown, system_error_message
from pipeline.runtime.json_text import parse_json
from pipeline.storage.files import sha256_of_file
from pipeline.storage.schema import ENCODER_CONFIG, ENCODER_WEIGHTS
from pipeline.untrusted.safe_paths import SafePath
from pipeline.untrusted.tensor_files import ARCHIVE, LENGTH_BYTES, archive_records, check_header

FILE_NAMES = (ENCODER_WEIGHTS, "model.safetensors", "pytorch_model.bin")
"""Names of weights in a folder: of this project, and of the Hugging Face Hub."""
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")
WRAPPERS = (
    *("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model"),
    *("teacher", "student", "net", "module", "encoder"),
)
"""Keys under which training scripts keep the weights in a file, averaged ones first."""
MOST_OF_NAMES = 1 << 24
"""Maximum bytes of a pickle, which Python code reads byte by byte. A tensor takes about a hundred."""
NO_WEIGHTS = {
    b"version https://git-lfs": "is a pointer of Git LFS and not the file: run `git lfs pull`",
    b"<": "is a web page and not the file: download it by its direct address",
}
"""What files of weights turn out to be, by their beginnings."""


BESIDE_WEIGHTS = (
    "argparse.Namespace",
    *(f"{module}.{kind}Path" for module in ("pathlib", "pathlib._local") for kind in ("Posix", "Windows")),
    *(f"pathlib.Pure{kind}Path" for kind in ("Posix", "Windows")),
    *("numpy.dtype", "numpy.ndarray"),
    *(
        f"numpy.{core}.multiarray.{function}"
        for core in ("core", "_core")
        for function in ("scalar", "_reconstruct")
    ),
)
"""What training scripts keep beside the weights: their arguments, paths, and numbers of NumPy."""
_REFUSED_GLOBAL = re.compile(r"\bGLOBAL (\S+)")
"""The name that torch's loader for weights only does not load, in its error."""


class WeightsRefused(ValueError):
    """Raised if weights cannot be used; the message is the reason, as a clause without a subject."""


@dataclass(frozen=True)
class WeightsFile:
    """Weights as they were read."""

    name: str
    """Of the file."""
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
    return WeightsFile(path.name, tensors, sha256, configuration, notes)


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
    _check_archive(path)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            torch.serialization.safe_globals([(_Ignored, name) for name in BESIDE_WEIGHTS]),
        ):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = _REFUSED_GLOBAL.search(str(error))
        raise WeightsRefused(
            f"holds {shown(found[1])}, which is not loaded, since that may run code: if you trust it, take "
            "loaded = torch.load(..., weights_only=False) and save the weights alone, by "
            "torch.save(loaded.state_dict(), ...) of a network, torch.save(loaded[KEY], ...) of a dictionary"
            if found
            else "is damaged, or no file of weights that torch wrote: download it again, or save the state "
            "dict by torch.save(model.state_dict(), ...) or as safetensors"
        ) from None
    except Exception as error:  # a damaged file can raise almost anything
        if system_error_message(error):
            raise
        raise WeightsRefused(f"is damaged ({first_line(error):.120}): download it again") from None


class _Ignored:
    """Stands in a checkpoint for what is beside the weights, so that not even the constructors of the real
    classes run."""

    def __new__(cls, *_arguments: object) -> Self:
        return super().__new__(cls)

    def __init__(self, *_arguments: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass


def _check_archive(path: Path) -> None:
    """Raises `WeightsRefused` for an archive that grows when it is read.

    torch stores weights as they are, but loads compressed ones, whatever they claim to hold.
    """
    with open(path, "rb") as file:
        if file.read(len(ARCHIVE)) != ARCHIVE:
            return  # of an old version of torch
        try:
            records = archive_records(file)
        except ValueError as error:
            raise WeightsRefused(
                f"is a damaged archive, or none that torch wrote ({first_line(error)}): download it again, "
                "or save it by torch"
            ) from None
    if any(record.filename.endswith("/constants.pkl") for record in records):
        raise WeightsRefused(
            "is a TorchScript program, which is not run: save its weights, by "
            "torch.save(torch.jit.load(...).state_dict(), ...)"
        )
    # Any of them, since torch finds records by names in capital letters, too.
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise WeightsRefused("is a compressed archive, and torch writes none: unpack it, or save it by torch")
    if sum(record.file_size for record in records) > MOST_OF_WEIGHTS:
        raise WeightsRefused(f"claims to hold more than {MOST_OF_WEIGHTS >> 30} GiB")
    pickles = (record.file_size for record in records if record.filename.lower().endswith(".pkl"))
    if sum(pickles) > MOST_OF_NAMES:
        raise WeightsRefused(
            f"holds more than {MOST_OF_NAMES >> 20} MiB beside the numbers of its tensors: save the state "
            "dict alone, by torch.save(model.state_dict(), ...)"
        )


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
            for key, tensor in tensors.items():
                _check_is_dense(key, tensor)
            return tensors, notes
        if not inner:
            break
        if len(inner) > 1:
            notes.append(f"of {listed(inner)} in the file, {inner[0]} is taken")
        loaded = loaded[inner[0]]
    raise WeightsRefused("holds no weights by name: save the state dict of the network")


def _check_is_dense(key: str, tensor: Tensor) -> None:
    kind = next(
        (
            kind
            for kind, found in (
                ("a tensor of the device meta, without numbers,", tensor.is_meta),
                ("a sparse tensor", tensor.layout != torch.strided),
                ("quantised numbers", tensor.is_quantized),
                ("complex numbers", tensor.is_complex()),
            )
            if found
        ),
        None,
    )
    if kind is not None:
        raise WeightsRefused(f"holds {kind} in {shown(key)}: save the weights as float32")
