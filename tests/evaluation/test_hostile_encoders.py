"""A configuration that fits no network is refused in one sentence."""

import json
import math
import os
import resource
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from drawn_encoders import write_drawn_encoder
from fuzz.parameters import NO_NUMBERS, NUMBERS, OTHER_TYPES
from pipeline.encoders.base import Architecture
from pipeline.encoders.files import MOST_OF_CONFIG, identity_of
from pipeline.encoders.registry import build_encoder
from pipeline.evaluation.features import EncoderUnreadable, load_encoder_from_elsewhere, read_encoder
from pipeline.runtime.errors import UserError
from pipeline.storage.files import read_json, write_json
from pipeline.storage.schema import Layout
from pipeline.untrusted.tensor_files import MOST_OF_HEADER
from support import at_once

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
COLOURS: list[Any] = [
    *([value] * 3 for value in [*OTHER_TYPES[:-1], *NO_NUMBERS, False, -1, -1e-9, 1.5, 1e300, 10**400]),
    *([], [0.5], [0.5] * 4, [[0.5] * 3], {"r": 0.5, "g": 0.5, "b": 0.5}, "abc", None, 0.5, True),
]
OF_TIMM = [
    "timm/",
    "timm/resnet5O",
    "timm/hf-hub:a/b",
    "timm/local-dir:/tmp",
    "timm/../x",
    "timm/resnet18/x",
    "TIMM/resnet18",
]
CONFIGS: dict[str, list[Any]] = {
    "encoder": [
        *OTHER_TYPES,
        *NUMBERS,
        "vit_b_16",
        "RESNET18",
        "resnet18 ",
        ["resnet18"],
        "../resnet18",
        *OF_TIMM,
    ],
    "stem_stride": [*OTHER_TYPES, *NO_NUMBERS, 0, -1, 3, 1.0, 2.0, 8, 2**63, 1e300, "auto", [4]],
    "feature_dim": [*OTHER_TYPES[1:], *NO_NUMBERS, 0, -1, 512.0, 1e300, [512]],
    "image_size": [*OTHER_TYPES, *NO_NUMBERS, *NUMBERS, -5, 7, 32.0, 32.5, 2049, 10**9, [32], [32, 32]],
    "stored_size": [*OTHER_TYPES[1:], *NO_NUMBERS, *NUMBERS, 7, 32.0, 2049, 10**9, [32]],
    "interpolation": [*OTHER_TYPES, *NUMBERS, "nearest", "BICUBIC", "bicubic ", ["bicubic"]],
    "crop_pct": [*OTHER_TYPES, *NO_NUMBERS, 0, -1, 0.05, 1.01, 2**63, "0.9", [0.9]],
    "mean": COLOURS,
    "std": [*COLOURS, [0.0] * 3, [0.2, 0.0, 0.2], [5e-324] * 3],
    "value_range": [
        *OTHER_TYPES[1:],
        *([0, value] for value in [*NO_NUMBERS, "1", True, None, 1e300]),
        [1, 1],
        [2, 1],
    ],
    "weights_sha256": [*OTHER_TYPES[1:], "0" * 63, "0" * 64, "A" * 64, "x" * 10_000, 0],
}
GOOD = {"encoder": "resnet18", "stem_stride": 4, "feature_dim": 512, "image_size": 32, "mean": [0.5] * 3}


@contextmanager
def allocating_at_most(most: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] <= most
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good encoder, of which each test spoils a part and puts it back."""
    return write_drawn_encoder(Layout(tmp_path_factory.mktemp("encoder")))


@pytest.mark.parametrize("key", CONFIGS)
def test_a_configuration_that_feeds_no_network(tmp_path: Path, key: str) -> None:
    (tmp_path / "encoder.safetensors").write_bytes(b"never read")
    for value in CONFIGS[key]:
        config = GOOD | {"std": [0.2] * 3, key: value}
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(EncoderUnreadable) as refused:
            read_encoder(tmp_path, CPU)
        where = (
            "encoder.safetensors: its SHA-256"
            if (key, value) == ("weights_sha256", "0" * 64)
            else "config.json: "
        )
        assert str(refused.value).startswith(where), value
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 400


@pytest.mark.parametrize("whole", [*OTHER_TYPES[:-1], [[]], [GOOD]])
def test_a_configuration_that_is_no_object(tmp_path: Path, whole: Any) -> None:
    (tmp_path / "config.json").write_text(json.dumps(whole))
    with pytest.raises(EncoderUnreadable, match=r"^config\.json: "):
        read_encoder(tmp_path, CPU)


@pytest.mark.parametrize("key", [key for key in GOOD if key != "feature_dim"])
def test_a_configuration_without_a_key(tmp_path: Path, key: str) -> None:
    config = {name: value for name, value in (GOOD | {"std": [0.2] * 3}).items() if name != key}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderUnreadable, match=rf"^config\.json: {key} is missing$"):
        read_encoder(tmp_path, CPU)


Spoil = Callable[[dict[str, Tensor]], object]


def each(change: Callable[[Tensor], Tensor]) -> Spoil:
    return lambda weights: weights.update(
        {name: change(weight) for name, weight in weights.items() if weight.is_floating_point()}
    )


WEIGHTS: dict[str, tuple[Spoil, str]] = {
    "one is not a number": (lambda weights: weights["fc_"].fill_(math.nan), "fc_ holds numbers that are not"),
    "one is infinite": (
        lambda weights: weights["layer4.1.conv2.weight"][0, 0, 0].fill_(-math.inf),
        "layer4.1.conv2.weight holds numbers that are not finite",
    ),
    "a variance is negative": (
        lambda weights: weights["bn1.running_var"][3:4].fill_(-1e-30),
        "bn1.running_var holds variances below 0",
    ),
    "half": (each(Tensor.half), "holds torch.float16, expected torch.float32"),
    "double": (each(Tensor.double), "holds torch.float64, expected torch.float32"),
    "bytes": (each(lambda weight: weight.to(torch.uint8)), "holds torch.uint8, expected torch.float32"),
    "complex": (each(lambda weight: weight.to(torch.complex64)), "holds torch.complex64, expected"),
    "none": (lambda weights: weights.clear(), "it lacks bn1.bias, so its weights are of another network"),
    "one is missing": (lambda weights: weights.pop("conv1.weight"), "it lacks conv1.weight"),
    "one too many": (lambda weights: weights.update(extra=torch.zeros(1)), "it holds extra, so"),
    "a long name": (
        lambda weights: weights.update({"x" * 100_000: torch.full((1,), math.nan)}),
        "x ... x",
    ),
    "another shape": (
        lambda weights: weights.update({"conv1.weight": torch.zeros(64, 3, 7, 8)}),
        "conv1.weight has another shape than in the network",
    ),
    "zeros": (each(torch.zeros_like), "its features are equal for all images"),
    "blind": (
        lambda weights: weights["conv1.weight"].zero_(),
        "its features are equal for all images",
    ),
    "too large": (each(lambda weight: weight * 1e30), "its features are not finite"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_none(folder: Path, name: str) -> None:
    spoil, why = WEIGHTS[name]
    good = {file: (folder / file).read_bytes() for file in ("encoder.safetensors", "config.json")}
    weights = load_file(folder / "encoder.safetensors")
    if name == "one is not a number":
        weights["fc_"] = torch.zeros(1)
    spoil(weights)
    save_file(weights, folder / "encoder.safetensors")
    write_json(folder / "config.json", read_json(folder / "config.json") | {"weights_sha256": None})
    try:
        with pytest.raises(UserError) as refused:
            load_encoder_from_elsewhere(str(folder), CPU)
    finally:
        for file, content in good.items():
            (folder / file).write_bytes(content)
    assert "cannot be rebuilt (encoder.safetensors: " in str(refused.value)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("encoder", ["timm/vit_giant_patch14_dinov2", "timm/eva_giant_patch14_224"])
def test_a_network_of_billions_of_weights_takes_no_memory(folder: Path, tmp_path: Path, encoder: str) -> None:
    shutil.copytree(folder, tmp_path / "other")
    changes = {"encoder": encoder, "stem_stride": None, "image_size": 56, "feature_dim": None}
    write_json(tmp_path / "other/config.json", read_json(folder / "config.json") | changes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(EncoderUnreadable, match=r"so its weights are of another network$"):
        read_encoder(tmp_path / "other", CPU)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB; the weights are 4 GB


def test_another_width_than_the_network_s(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "other")
    write_json(tmp_path / "other/config.json", read_json(folder / "config.json") | {"feature_dim": 511})
    with pytest.raises(
        EncoderUnreadable, match=r"^config\.json: feature_dim is 511, but 512 in the network$"
    ):
        read_encoder(tmp_path / "other", CPU)


def test_a_good_encoder_of_a_stranger_is_taken(folder: Path) -> None:
    assert load_encoder_from_elsewhere(str(folder), CPU).image_size == 32


def test_files_without_an_end(tmp_path: Path) -> None:
    """Sparse ones take no room on the disk."""
    config = {"encoder": "resnet18", "stem_stride": 4, "image_size": 32, "mean": [0.5] * 3}
    (tmp_path / "config.json").write_text(json.dumps(config | {"std": [0.2] * 3}))
    with (tmp_path / "encoder.safetensors").open("wb") as file:
        file.truncate(200 << 30)
    with at_once(30), pytest.raises(EncoderUnreadable, match=r"^encoder\.safetensors: .*more than 4 GiB"):
        read_encoder(tmp_path, CPU)
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(20 << 30)
    with at_once(30), pytest.raises(EncoderUnreadable, match=r"^config\.json: .*more than 128 KiB"):
        read_encoder(tmp_path, CPU)


def test_a_configuration_without_an_end(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(EncoderUnreadable, match="nested too deep"):
        read_encoder(tmp_path, CPU)


def in_json(size: int, item: str, config: dict[str, Any]) -> str:
    """A good configuration of that many bytes, most of them of one key that nobody asks for."""
    start = json.dumps(config)[:-1] + ', "x": ['
    return start + (item + ",") * ((size - len(start) - 10) // (len(item) + 1)) + "0]}"


@pytest.mark.parametrize("item", ['{"":0,"":0}', "[]", '""', "0"])
def test_a_configuration_that_would_take_gigabytes(folder: Path, tmp_path: Path, item: str) -> None:
    """Python makes sixty times as many bytes of such items."""
    shutil.copytree(folder, tmp_path / "other")
    config = read_json(folder / "config.json")
    path = tmp_path / "other/config.json"
    path.write_text(in_json(MOST_OF_CONFIG // 2, item, config))
    assert read_encoder(tmp_path / "other", CPU).image_size == 32
    path.write_text(in_json(16 << 20, item, config))
    with allocating_at_most(4 << 20):
        with pytest.raises(EncoderUnreadable, match=r"^config\.json: .*more than 128 KiB$"):
            read_encoder(tmp_path / "other", CPU)
        with pytest.raises(ValueError, match="more than 128 KiB"):
            identity_of(tmp_path / "other")


def header_of(names: int) -> bytes:
    entries = ",".join(f'"{n:x}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for n in range(names))
    return f"{{{entries}}}".encode()


@pytest.mark.parametrize(
    "header", [header_of(50_000), b'{"' + b"x" * (2 << 20) + b'":1}', b" " * (2 << 20), b"{}"]
)
@pytest.mark.parametrize("claimed", [None, (1 << 20) + 1, (1 << 64) - 1])
def test_weights_of_many_names(folder: Path, tmp_path: Path, header: bytes, claimed: int | None) -> None:
    """The header's length decides, before it is parsed."""
    length = len(header) if claimed is None else claimed
    shutil.copy(folder / "config.json", tmp_path)
    write_json(tmp_path / "config.json", read_json(folder / "config.json") | {"weights_sha256": None})
    (tmp_path / "encoder.safetensors").write_bytes(length.to_bytes(8, "little") + header)
    parsed = "it lacks bn1.bias" if header == b"{}" else "Error"
    why = parsed if length < 100 else r"its header claims more than 1 MiB$"
    with pytest.raises(EncoderUnreadable, match=rf"^encoder\.safetensors: .*{why}"):
        read_encoder(tmp_path, CPU)


def test_the_largest_network_is_far_below_the_limit(folder: Path) -> None:
    """Its names make up the header."""
    names = max(
        len(build_encoder(Architecture(name, 4, 32)).backbone.state_dict())
        for name in ("resnet18", "resnet50")
    )
    assert len(header_of(2 * names)) < MOST_OF_HEADER // 4
    assert (folder / "config.json").stat().st_size < MOST_OF_CONFIG // 8


@pytest.mark.parametrize("name", ["config.json", "encoder.safetensors"])
def test_places_that_are_no_files(folder: Path, tmp_path: Path, name: str) -> None:
    """Also where they take the place of a file after a look at it."""
    shutil.copytree(folder, tmp_path / "other")
    (tmp_path / "other" / name).unlink()
    for make in (os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")):
        make(tmp_path / "other" / name)
        with at_once(30), pytest.raises(EncoderUnreadable, match=rf"^{name}: .* can't be read"):
            read_encoder(tmp_path / "other", CPU)
        with at_once(30), pytest.raises(ValueError, match="can't be read"):
            identity_of(tmp_path / "other")
        (tmp_path / "other" / name).rename(tmp_path / f"{name}-{make}".replace("/", ""))


def test_both_readings_know_an_encoder_by_the_same(folder: Path) -> None:
    assert read_encoder(folder, CPU).identity == identity_of(folder)
