"""What is taken away works without the project, and says only what was measured of it."""

import re
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from typer.testing import CliRunner, Result

from inference.conftest import MakeEncoder
from inference.test_embed import assert_equal, vectors_in
from pipeline.cli import app
from pipeline.dataset.dataset import ImageSplit
from pipeline.dataset.pixels import load_pixels
from pipeline.evaluation.features import features_of, load_encoder
from pipeline.inference import onnx_graph as graph_module
from pipeline.inference.card_metrics import figures_of
from pipeline.runtime.sanitize import for_markdown
from pipeline.storage.files import read_json, sha256_of_file, write_json
from pipeline.storage.schema import Layout
from project import Project

pytestmark = pytest.mark.slow

NAMES = {"encoder.safetensors", "config.json", "README.md"}


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["export", *map(str, arguments)])


def metrics_with(weights: Path, **changes: Any) -> dict[str, Any]:
    return {
        "protocol": "lbfgs",
        "top1": 0.731,
        "top5": 0.95,
        "knn_top1": 0.6,
        "top1_low": 0.71,
        "top1_high": 0.75,
        "baselines": {"chance_top1": 0.022, "majority_top1": 0.17, "reachable_top1": 0.98},
        "classes": 44,
        "train_images": 8937,
        "test_images": 2196,
        "regularisation": 0.1,
        "learning_rate": None,
        "selection_top1": 0.7,
        "selection_rows": 24,
        "top1_at": {
            "0.01": {
                "top1": 0.5,
                "top1_low": 0.4,
                "top1_high": 0.6,
                "train_images": 89,
                "selection_rows": 63,
            }
        },
        "encoder": None,
        "weights_sha256": sha256_of_file(weights),
        "reason": None,
    } | changes


def test_a_finished_project(finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each arm: the card's figures are those of the evaluation, the vectors those that it measured."""
    monkeypatch.chdir(finished.root)
    runner, layout = CliRunner(), Layout()
    for arm in ("chosen", "untrained", "label"):
        output = tmp_path / arm
        result = runner.invoke(app, ["export", "--arm", arm, "--output", str(output)])
        assert result.exit_code == 0, result.output
        assert {path.name for path in output.iterdir()} == NAMES
        metrics = read_json(layout.evaluation(arm) / "metrics.json")
        card = ModelCard.load(output / "README.md")
        assert f"| linear top-1 | {100 * metrics['top1']:.1f} % |" in card.text
        assert ("Clusters by `label`:" in card.text) == (arm == "label")
        if arm == "chosen":
            notes = [for_markdown(note) for note in read_json(layout.statistics(arm))["notes"]]
            assert f"Clusters by `attributes` ({'; '.join(notes)}):" in card.text
        values = {one.metric_type: one.metric_value for one in card.data.eval_results}
        assert values["accuracy"] == metrics["top1"]
        assert values["knn_accuracy"] == metrics["knn_top1"]
        assert "Not known when this card was written" in (layout.encoder(arm) / "README.md").read_text()

        vectors = tmp_path / f"{arm}.parquet"
        command = ["embed", "data/images", "-o", str(vectors), "--encoder", str(output)]
        result = runner.invoke(app, command)
        assert result.exit_code == 0, result.output
        cpu = torch.device("cpu")
        trained, expected = load_encoder(layout.encoder(arm), cpu), dict[str, np.ndarray]()
        for split in ("train", "test"):
            store = load_pixels(ImageSplit(layout.images, split))
            expected |= zip(store.ids, features_of(trained, store, cpu).numpy(), strict=True)
        assert_equal(vectors_in(vectors, trained.encoder.feature_dim), expected)


def test_figures_of_another_encoder_are_not_shown(
    make_encoder: MakeEncoder, layout: Layout, export: Callable[..., Result], tmp_path: Path
) -> None:
    weights = make_encoder() / "encoder.safetensors"
    path = layout.evaluation("chosen") / "metrics.json"

    def card() -> str:
        assert export().exit_code == 0
        text: str = ModelCard.load(tmp_path / "export/README.md").content
        return text

    assert "None were measured." in card()
    write_json(path, metrics_with(weights))
    assert "| linear top-1 | 73.1 % | 71.0 % to 75.0 % |" in card()
    assert "linear top-1 with 1 %: 89 of 8,937 train labels | 50.0 % |" in card()
    assert "| majority share: always naming the most frequent label | 17.0 % |" in card()
    assert "| chance level: guessing evenly among the labels | 2.2 % |" in card()
    assert "labels that no train image has | 98.0 % |" in card()
    assert "model-index" in card()
    # Trained again since; of another project; from before evaluation said what it measured.
    for changes in ({"weights_sha256": "0" * 64}, {"weights_sha256": None}):
        write_json(path, metrics_with(weights, **changes))
        assert "73.1" not in card()
        assert "model-index" not in card()
        assert "holds the figures of another encoder: run" in export().stdout
    write_json(path, metrics_with(weights, reason="No test image has a label.", weights_sha256=None))
    assert "No test image has a label." in card()


def test_an_earlier_export_is_replaced_and_nothing_else(
    make_encoder: MakeEncoder, export: Callable[..., Result], tmp_path: Path
) -> None:
    make_encoder()
    output = tmp_path / "export"
    output.mkdir()
    (output / "LICENSE").write_text("mine")
    assert export("--onnx").exit_code == 0
    assert {path.name for path in output.iterdir()} == NAMES | {"LICENSE", "encoder.onnx"}
    make_encoder(seed=1)
    assert export().exit_code == 0
    assert {path.name for path in output.iterdir()} == NAMES | {"LICENSE"}
    encoder = tmp_path / "data/encoders/chosen"
    assert sha256_of_file(output / "encoder.safetensors") == sha256_of_file(encoder / "encoder.safetensors")


@pytest.mark.parametrize("name", ["encoder.safetensors", "config.json", "README.md", "encoder.onnx"])
@pytest.mark.parametrize("change", ["replaced", "extended", "link", "broken link"])
def test_what_changed_since_an_export_stays(
    make_encoder: MakeEncoder, export: Callable[..., Result], tmp_path: Path, name: str, change: str
) -> None:
    make_encoder()
    assert export().exit_code == 0
    path, elsewhere = tmp_path / "export" / name, tmp_path / "elsewhere"
    before = path.read_bytes() if path.exists() else b""
    path.unlink(missing_ok=True)
    match change:
        case "replaced":
            path.write_bytes(b"mine")
        case "extended":
            path.write_bytes(before + b"mine\n")
        case "link":
            elsewhere.write_bytes(before)
            path.symlink_to(elsewhere)
        case "broken link":
            path.symlink_to("nowhere")
    result, entry = export(), path.lstat()
    assert result.exit_code == 2
    assert name in result.stderr
    assert "which no export wrote, or which changed since: name another folder, or move" in result.stderr
    assert path.lstat() == entry
    path.unlink()
    if name == "README.md":
        # Nothing says any more what is whose.
        assert "holds config.json, encoder.safetensors, which no export" in export().stderr
    else:
        assert export().exit_code == 0


def test_links_in_a_new_folder_stay(
    make_encoder: MakeEncoder, export: Callable[..., Result], tmp_path: Path
) -> None:
    make_encoder()
    (tmp_path / "export").mkdir()
    (tmp_path / "export/config.json").symlink_to("nowhere")
    assert "holds config.json, which no export wrote" in export().stderr
    assert [path.name for path in (tmp_path / "export").iterdir()] == ["config.json"]


def test_what_comes_while_the_graph_is_written_stays(
    make_encoder: MakeEncoder, export: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_encoder()

    def figures_meanwhile(*arguments: Any) -> Any:
        (tmp_path / "export/README.md").write_text("mine")
        return figures_of(*arguments)

    monkeypatch.setattr("pipeline.inference.export.figures_of", figures_meanwhile)
    result = export()
    assert result.exit_code == 2
    assert "holds README.md, which no export wrote" in result.stderr
    assert (tmp_path / "export/README.md").read_text() == "mine"
    assert [path.name for path in (tmp_path / "export").iterdir()] == ["README.md"]


def test_other_people_s_files_are_left_alone(
    make_encoder: MakeEncoder, export: Callable[..., Result], tmp_path: Path
) -> None:
    encoder = make_encoder()
    before = (encoder / "README.md").read_bytes()
    (tmp_path / "README.md").write_text("my project")
    (tmp_path / "file").write_text("")
    for output, sentence in (
        (encoder, "which DVC empties before a stage runs: keep your own files in another folder"),
        (tmp_path, "holds README.md, which no export wrote"),
        (tmp_path / "file", "is a file: name a folder"),
    ):
        result = export("--output", output)
        assert result.exit_code == 2
        assert sentence in result.stderr
    assert (tmp_path / "README.md").read_text() == "my project"
    assert (encoder / "README.md").read_bytes() == before
    assert "--arm label: " in export("--arm", "label").stderr
    (encoder / "README.md").write_text("an older card")
    assert "is not the card that this version's training writes" in export().stderr
    assert not (tmp_path / "export/encoder.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "stem_stride", "feature_dim"),
    [
        ("resnet18", 1, 512),
        ("resnet18", 2, 512),
        ("resnet18", 4, 512),
        ("patch_resnet", 2, 768),
        ("whitened_patches", 2, 256),
        ("timm/convnext_atto", None, 320),
        ("timm/vit_tiny_patch16_224", None, 192),
    ],
)
def test_the_graph_computes_what_torch_does(
    make_encoder: MakeEncoder,
    export: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    stem_stride: int | None,
    feature_dim: int,
) -> None:
    encoder = make_encoder(name=name, stem_stride=stem_stride)
    result = export("--onnx")
    assert result.exit_code == 0, result.output
    assert re.search(r"encoder\.onnx: features differ from torch's by at most \d\.\de-\d\d", result.stdout)
    output = tmp_path / "export"
    assert {path.name for path in output.iterdir()} == NAMES | {"encoder.onnx"}
    monkeypatch.chdir(output)
    block = re.findall(r"```python\n(.*?)```", (output / "README.md").read_text(), re.DOTALL)[-1]
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102 - the lines that users will run
    assert names["features"].shape == (1, feature_dim)
    trained = load_encoder(encoder, torch.device("cpu"))
    for count in (1, 3, 16):
        images_NCSS = torch.rand(count, 3, 32, 32)
        (found_ND,) = names["session"].run(["features"], {"images": images_NCSS.numpy()})
        with torch.inference_mode():
            expected_ND = trained.encoder(trained.normalize(images_NCSS))
        np.testing.assert_allclose(found_ND, expected_ND.numpy(), rtol=1e-4, atol=1e-5)


def test_a_graph_that_differs_is_refused(
    make_encoder: MakeEncoder, export: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_encoder()
    real = graph_module._Normalised.forward

    def exported_wrongly(self: Any, images: torch.Tensor) -> torch.Tensor:
        return real(self, images) * (1.01 if torch.compiler.is_exporting() else 1.0)

    monkeypatch.setattr(graph_module._Normalised, "forward", exported_wrongly)
    result = export("--onnx")
    assert result.exit_code == 2
    assert "more than rounding" in result.stderr
    assert not list((tmp_path / "export").iterdir())


def test_a_network_that_torch_does_not_export_is_a_sentence(
    make_encoder: MakeEncoder, export: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_encoder()

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("Failed to convert aten.sym\n" + "%graph\n" * 140)

    monkeypatch.setattr(torch.onnx, "export", fails)
    result = export("--onnx")
    assert result.exit_code == 2
    assert "torch can't write resnet18 as ONNX (Failed to convert aten.sym): export without" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list((tmp_path / "export").iterdir())


def test_a_missing_extra_is_a_sentence(
    make_encoder: MakeEncoder, export: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_encoder()
    for name in graph_module.NEEDED:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(
        graph_module, "find_spec", lambda name: None if name.startswith("onnxr") else find_spec(name)
    )
    result = export("--onnx")
    assert result.exit_code == 2
    sentence = "error: --onnx needs onnxruntime, which is not installed: run `uv sync --extra onnx`\n"
    assert result.stderr == sentence
    assert not (tmp_path / "export").exists()
