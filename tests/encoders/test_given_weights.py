"""Weights in files that people have: every common layout, and damaged or foreign ones."""

import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from encoders.fitted_weights import NAME, State, assert_holds, drawn, fitted
from pipeline.encoders import weights_files
from pipeline.encoders.base import Architecture
from pipeline.encoders.given_weights import fit_weights
from pipeline.encoders.registry import build_plain_encoder
from pipeline.encoders.weights_files import WeightsRefused, read_weights_file
from pipeline.storage.files import write_json
from support import at_once

pytestmark = pytest.mark.slow


def prefixed(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    ("wrapped", "prefix"),
    [
        (lambda state: state, ""),
        (lambda state: {"state_dict": prefixed(state, "module."), "epoch": 3}, "module."),
        (lambda state: {"model": prefixed(state, "_orig_mod.backbone.")}, "_orig_mod.backbone."),
        (lambda state: {"state_dict": {"model": state}}, ""),
        (lambda state: {"teacher": prefixed(state, "backbone."), "student": {}}, "backbone."),
        (lambda state: prefixed(state, "student."), "student."),
        (
            lambda state: {
                "state_dict": prefixed(state, "encoder_q.")
                | {"queue": torch.ones(3), "queue_ptr": torch.ones(1)}
            },
            "encoder_q.",
        ),
    ],
)
def test_layouts_of_training_scripts(
    state: State, tmp_path: Path, wrapped: Callable[[State], Any], prefix: str
) -> None:
    torch.save(wrapped(state), tmp_path / "checkpoint.pth")
    found, notes = fitted(tmp_path / "checkpoint.pth")
    assert_holds(found, state)
    assert [note for note in notes if "prefix" in note] == (
        [f"the prefix {prefix!r} of their names is removed"] if prefix else []
    )
    (left_out,) = [note for note in notes if "left out" in note]
    assert "fc.bias" in left_out


def test_safetensors_and_folders_of_the_hub(state: State, tmp_path: Path) -> None:
    save_file(state, tmp_path / "model.safetensors")
    write_json(tmp_path / "config.json", {"architecture": "resnet10t"})
    for path in (tmp_path, tmp_path / "model.safetensors"):
        assert_holds(fitted(path)[0], state)
    assert read_weights_file(tmp_path).configuration == {"architecture": "resnet10t"}
    assert read_weights_file(tmp_path / "model.safetensors").configuration is None


def test_torchvision_s_names(tmp_path: Path) -> None:
    weights = torchvision.models.resnet18().state_dict()
    torch.save(weights, tmp_path / "resnet18.pth")
    found, notes = fitted(tmp_path / "resnet18.pth", "resnet18")
    assert_holds(found, weights)
    assert notes == ["2 of them have no place in the encoder and are left out: fc.bias, fc.weight"]


def test_a_first_layer_for_small_images_is_named(tmp_path: Path) -> None:
    small = build_plain_encoder(Architecture("resnet18", 1, 32)).backbone
    torch.save(small.state_dict(), tmp_path / "cifar.pth")
    with pytest.raises(
        WeightsRefused, match=r"^has a first layer of 3 x 3, .*set pretrain.stem_stride to its"
    ):
        fitted(tmp_path / "cifar.pth", "resnet18")


@pytest.mark.parametrize("name", ["cait_xxs24_224", "mixer_s32_224"])
def test_weights_that_timm_does_not_resize_name_their_size(tmp_path: Path, name: str) -> None:
    torch.save(timm.create_model(name, num_classes=0).state_dict(), tmp_path / "weights.pth")
    fitted(tmp_path / "weights.pth", f"timm/{name}", 224)
    with pytest.raises(WeightsRefused, match=r"is for images of 224 pixels, and timm .*image_size=224$"):
        fitted(tmp_path / "weights.pth", f"timm/{name}", 64)


@pytest.mark.parametrize("prefix", ["", "backbone."])
@pytest.mark.parametrize("name", ["resnet18", "timm/resnet10t"])
def test_networks_in_a_sequence_of_their_children(tmp_path: Path, name: str, prefix: str) -> None:
    """As lightly's examples build them."""
    torch.manual_seed(0)
    backbone = drawn(name).backbone
    sequence = nn.Sequential(*backbone.children())
    torch.save(prefixed(sequence.state_dict(), prefix), tmp_path / "backbone.pth")
    found, notes = fitted(tmp_path / "backbone.pth", name)
    assert_holds(found, backbone.state_dict())
    assert notes == ["the numbers in their names are the places of the network's parts"]


def test_averaged_weights_are_taken_and_named(state: State, tmp_path: Path) -> None:
    averaged = {key: value * 2 for key, value in state.items()}
    torch.save({"state_dict": state, "state_dict_ema": averaged, "epoch": 3}, tmp_path / "c.pth")
    found, notes = fitted(tmp_path / "c.pth")
    assert_holds(found, averaged)
    assert notes[0] == "of state_dict_ema, state_dict in the file, state_dict_ema is taken"


@pytest.mark.parametrize(
    ("larger", "name", "size"),
    [
        (lambda: torchvision.models.resnet34(), "resnet18", 32),
        (lambda: torchvision.models.resnet101(), "resnet50", 32),
        (lambda: timm.create_model("resnet14t"), "timm/resnet10t", 32),
        (lambda: timm.create_model("vit_tiny_patch16_224", img_size=32), "timm/vit_depth", 32),
    ],
)
def test_weights_of_a_larger_network_are_refused(
    tmp_path: Path, larger: Callable[[], nn.Module], name: str, size: int
) -> None:
    weights = dict(larger().state_dict())
    if name == "timm/vit_depth":  # one with fewer blocks, as there is none of the same width
        name = "timm/vit_tiny_patch16_224"
        weights |= {
            key.replace("blocks.0.", "blocks.12."): w for key, w in weights.items() if "blocks.0." in key
        }
    torch.save(weights, tmp_path / "larger.pth")
    with pytest.raises(
        WeightsRefused, match=r"more layers between them: they are of a larger network|of shape"
    ):
        fitted(tmp_path / "larger.pth", name, size)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_types_are_converted(state: State, tmp_path: Path, dtype: torch.dtype) -> None:
    other = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
    torch.save(other, tmp_path / "half.pt")
    found, notes = fitted(tmp_path / "half.pt")
    assert {value.dtype for value in found.values()} == {torch.float32, torch.int64}
    assert_holds(found, other)
    assert notes[-1] == f"they are converted from {str(dtype).removeprefix('torch.')} to float32"


def test_position_embeddings_are_resized(tmp_path: Path) -> None:
    torch.manual_seed(0)
    large = timm.create_model("vit_tiny_patch16_224", img_size=64).state_dict()
    save_file(dict(large), tmp_path / "vit.safetensors")
    found, notes = fitted(tmp_path / "vit.safetensors", "timm/vit_tiny_patch16_224", 32)
    assert found["pos_embed"].shape == (1, 5, 192)
    assert "resized to the size of images: pos_embed" in notes
    torch.testing.assert_close(found["cls_token"], large["cls_token"])


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code in a file of weights was run",))


def changed(state: State, key: str, value: Callable[[Tensor], Tensor]) -> State:
    return state | {key: value(state[key])}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda s: timm.create_model("resnet14t").state_dict(), None),
        (
            lambda s: timm.create_model("convnext_atto").state_dict(),
            r"^holds [\d,]+ of the \d+ weights of timm/res",
        ),
        (
            lambda s: dict(list(s.items())[: len(s) // 2]),
            r"weights of timm/resnet10t; .* are missing: name weights",
        ),
        (lambda s: {"fc.weight": torch.ones(3, 512), "fc.bias": torch.ones(3)}, "^holds 0 of the"),
        (lambda s: changed(s, "conv1.0.weight", lambda w: w[:, :1]), "^is for images of one channel"),
        (
            lambda s: changed(s, "conv1.0.weight", lambda w: w[:3]),
            "^holds conv1.0.weight of shape 3 x 3 x 3 x 3",
        ),
        (
            lambda s: changed(s, "bn1.weight", lambda w: w * float("nan")),
            "numbers in bn1.weight that are not finite",
        ),
        (
            lambda s: changed(s, "bn1.running_var", lambda w: -w),
            "^holds variances below 0 in bn1.running_var",
        ),
        (
            lambda s: changed(s, "bn1.weight", lambda w: w.to(torch.int8)),
            "^holds bn1.weight as int8: save it as",
        ),
        (
            lambda s: changed(s, "conv1.0.weight", lambda w: w.to_sparse()),
            "^holds a sparse tensor in conv1.0.weight: save the weights as float32",
        ),
        (
            lambda s: {key: value.to("meta") for key, value in s.items()},
            "^holds a tensor of the device meta, without numbers, in",
        ),
        (
            lambda s: changed(s, "bn1.num_batches_tracked", lambda w: w.to("meta")),
            "^holds a tensor of the device meta, without numbers, in bn1.num_batches_tracked",
        ),
        (
            lambda s: changed(s, "bn1.num_batches_tracked", lambda w: w.to(torch.complex64)),
            "^holds complex numbers in bn1.num_batches_tracked",
        ),
        (
            lambda s: Harmful(),
            r"^holds _pytest\.outcomes\..*, which is not loaded, since that may run code: if",
        ),
        (lambda s: {"state_dict": {}}, "^holds no weights by name"),
        (lambda s: [torch.ones(3)], "^holds no weights by name"),
        (lambda s: torch.ones(3), "^holds no weights by name"),
        (lambda s: {"a": {"b": 3}}, "^holds no weights by name"),
    ],
)
def test_foreign_and_faulty_weights_end_in_a_sentence(
    state: State, tmp_path: Path, content: Callable[[State], Any], sentence: str | None
) -> None:
    torch.save(content(state), tmp_path / "weights.pth")
    with pytest.raises(WeightsRefused, match=sentence):
        fitted(tmp_path / "weights.pth")


def test_a_name_of_many_parts_takes_no_longer_than_its_length(state: State, tmp_path: Path) -> None:
    key = "a." * 300_000 + "conv1.0.weight"
    torch.save(state | {key: torch.ones(3)}, tmp_path / "weights.pth")
    with at_once():
        _, notes = fitted(tmp_path / "weights.pth")
    assert any(note.startswith("3 of them have no place in the encoder and are left out") for note in notes)


@pytest.mark.parametrize("kind", ["compressed", "large"])
def test_an_archive_that_grows_is_refused_before_it_is_read(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    torch.save(state, tmp_path / "weights.pth")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("was read"))
    if kind == "large":
        # The size of the file says nothing: records of an archive may overlap.
        size = (tmp_path / "weights.pth").stat().st_size
        monkeypatch.setattr(weights_files, "MOST_OF_WEIGHTS", size)
        monkeypatch.setattr(zipfile.ZipFile, "infolist", lambda _: [record(size), record(1)])
    else:
        with zipfile.ZipFile(tmp_path / "weights.pth") as stored:
            content = {name: stored.read(name) for name in stored.namelist()}
        with zipfile.ZipFile(tmp_path / "weights.pth", "w", zipfile.ZIP_DEFLATED) as deflated:
            for name, data in content.items():
                deflated.writestr(name, data)
    sentence = "is a compressed archive" if kind == "compressed" else "claims to hold more than"
    with pytest.raises(WeightsRefused, match=sentence):
        read_weights_file(tmp_path / "weights.pth")


def record(size: int) -> zipfile.ZipInfo:
    found = zipfile.ZipInfo("data")
    found.file_size = size
    return found


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.99])
def test_truncated_files(state: State, tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    if path.suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(WeightsRefused, match="damaged"):
        read_weights_file(path)


def test_other_places_and_files(state: State, tmp_path: Path) -> None:
    def refused(path: Path) -> str:
        with pytest.raises(WeightsRefused) as raised:
            read_weights_file(path)
        return str(raised.value)

    assert refused(tmp_path / "none.pth").startswith("does not exist: name a file such as")
    (tmp_path / "weights.txt").write_text("1")
    assert refused(tmp_path / "weights.txt").startswith("has no ending of a file of weights")
    (tmp_path / "old.pt").write_bytes(pickle.dumps({"a": Harmful()}))
    assert refused(tmp_path / "old.pt").startswith("is damaged, or no file of weights that torch wrote")
    (tmp_path / "lfs.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    assert refused(tmp_path / "lfs.pth").endswith("run `git lfs pull`")
    (tmp_path / "page.pth").write_text("\n<!DOCTYPE html><html></html>")
    assert refused(tmp_path / "page.pth").startswith("is a web page and not the file")
    with warnings.catch_warnings(action="ignore"):
        torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "script.pt")
    assert refused(tmp_path / "script.pt").startswith("is a TorchScript program, which is not run")
    folder = tmp_path / "folder"
    folder.mkdir()
    assert refused(folder).startswith("holds none of encoder.safetensors, model.safetensors")
    save_file(state, folder / "model.safetensors")
    assert refused(folder).startswith("holds no config.json of at most 128 KiB")
    for content, sentence in (
        ("{", "has a damaged config.json"),
        ("[]", "has a config.json that holds no object"),
    ):
        (folder / "config.json").write_text(content)
        assert refused(folder).startswith(sentence)


@pytest.mark.parametrize(
    ("names", "configuration"),
    [
        (["vit.embeddings.cls_token", "vit.layernorm.weight"], {"model_type": "vit", "architectures": ["V"]}),
        (["resnet.embedder.embedder.convolution.weight"], {"model_type": "resnet"}),
        (["mobilenet_v1.conv_stem.convolution.weight"], {"model_type": "mobilenet_v1"}),
        (["embeddings.cls_token", "encoder.layer.0.attention.attention.key.bias"], None),
        (["vision_model.embeddings.class_embedding"], None),
    ],
)
def test_the_layout_of_transformers_is_called_so(
    tmp_path: Path, names: list[str], configuration: dict[str, Any] | None
) -> None:
    tensors = {name: torch.zeros(3) for name in names}
    for name, address in (
        (
            "timm/resnet18.a1_in1k",
            "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors",
        ),
        ("resnet18", "https://download.pytorch.org/models/resnet18-f37072fd.pth"),
    ):
        with pytest.raises(
            WeightsRefused, match=r"^is in the layout of Hugging Face's transformers"
        ) as raised:
            fit_weights(drawn(name), name, tensors, configuration)
        assert str(raised.value).endswith(address)


@pytest.mark.parametrize(
    "configuration", [None, {}, {"architecture": "resnet10t", "model_type": "timm_wrapper"}]
)
def test_other_layouts_are_not(configuration: dict[str, Any] | None) -> None:
    with pytest.raises(WeightsRefused, match=r"^holds 0 of the \d+ weights of timm/resnet10t"):
        fit_weights(drawn(), NAME, {"patch_embed.proj.weight": torch.zeros(3)}, configuration)


def test_timm_s_weights_that_transformers_wrapped_are_read(state: State) -> None:
    encoder = drawn()
    wrapped = prefixed(state, "timm_model.")
    fit_weights(encoder, NAME, wrapped, {"architecture": "resnet10t", "model_type": "timm_wrapper"})
    assert_holds(dict(encoder.backbone.state_dict()), state)
