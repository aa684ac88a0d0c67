"""What SECURITY.md promises and no other test proves."""

import ast
import csv
import hashlib
import io
import os
import pickle
import socket
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from drawn_encoders import write_drawn_encoder
from pipeline.config.params import load_params
from pipeline.evaluation.features import EncoderUnreadable, read_encoder
from pipeline.ingest.run import ingest
from pipeline.report.arms import read_table
from pipeline.runtime.errors import UserError, exit_on_user_error
from pipeline.statistics.console import write_statistics_csv
from pipeline.storage.files import read_json, write_csv, write_json
from pipeline.storage.schema import Layout
from pipeline.training.checkpoint import _read
from support import REPOSITORY, params_with

pytestmark = pytest.mark.slow

SOURCES = sorted(path for folder in ("pipeline", "stages") for path in (REPOSITORY / folder).rglob("*.py"))
FORMULAS = ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "  =1", "'=1", "'", "cat"]


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call with the name that is called, such as `torch.load`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(word.value) for word in call.keywords if word.arg == name), None)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_code_is_run_that_data_hold(path: Path) -> None:
    for name, call in calls(path):
        where = f"{path}:{call.lineno} {name}"
        assert name not in ("eval", "exec", "os.system", "os.popen", "compile"), where
        assert not name.startswith(("pickle.", "dill.", "joblib.", "marshal.", "shelve.")), where
        assert not (name.endswith("np.load") and keyword(call, "allow_pickle") not in (None, "False")), where
        assert keyword(call, "shell") in (None, "False"), where
        if name == "torch.load":
            assert keyword(call, "weights_only") == "True", where
        if name == "YAML":
            # Without a type it only keeps what it reads, and makes no object of it.
            assert keyword(call, "typ") in (None, "'safe'"), where
        assert not name.startswith("yaml."), where


def test_weights_are_safetensors(tmp_path: Path) -> None:
    """Only a training's state, which ends with it, is torch's own format."""
    saving = {path.name for path in SOURCES for name, _ in calls(path) if name == "torch.save"}
    assert saving == {"checkpoint.py"}


class Harmful:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_a_state_runs_no_code(tmp_path: Path) -> None:
    mark = tmp_path / "run"
    buffer = io.BytesIO()
    torch.save({"epoch": Harmful(mark)}, buffer)
    payload = buffer.getvalue()
    state = tmp_path / "state.pt"
    state.write_bytes(payload + hashlib.sha256(payload).digest())
    with pytest.raises(pickle.UnpicklingError):
        _read(state)
    assert not mark.exists()
    # Without its checksum it is not even looked at.
    state.write_bytes(payload + bytes(32))
    assert _read(state) is None


@pytest.mark.parametrize(
    "text",
    [
        "seed: !!python/object/apply:os.mkdir [{mark}]",
        "seed: !!python/name:os.system",
        "ingest: !<tag:yaml.org,2002:python/object:subprocess.Popen> {{}}",
    ],
)
def test_yaml_makes_no_objects(text: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text.format(mark=tmp_path / "made"))
    with pytest.raises(UserError):
        load_params(path)
    assert not (tmp_path / "made").exists()


def test_addresses_are_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object) -> None:
        raise AssertionError("something asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("CLINFONCE_STATE_DIR", str(tmp_path / "state"))
    source = tmp_path / "source"
    source.mkdir()
    from support import png

    (source / "a.png").write_bytes(png(1))
    rows = ["image", "a.png", "https://example.org/a.png", "file:///etc/hostname", "s3://bucket/a.png"]
    (source / "manifest.csv").write_text("\n".join(rows))
    params = params_with(
        ingest={"source": "manifest", "path": str(source / "manifest.csv"), "max_reject_fraction": 1.0}
    )
    assert ingest(params.ingest, 0, Layout(tmp_path))["rejected"] == 3
    rejects = pq.read_table(tmp_path / "images/rejects.parquet").to_pylist()
    (reason,) = {reject["reason"] for reject in rejects}
    assert reason.startswith("an address, not the path of a file")


def test_tests_reach_no_other_machine(no_network: list[str]) -> None:
    with pytest.raises(OSError, match="tests reach no other machine"):
        urllib.request.urlopen("http://example.org", timeout=1)
    with pytest.raises(OSError, match="tests reach no other machine"), socket.socket() as reached:
        reached.connect(("192.0.2.1", 80))
    assert len(no_network) == 2
    no_network.clear()


OF_TORCHVISION = ["fcn_resnet50", "fasterrcnn_resnet50_fpn", "deeplabv3_resnet101", "ssd300_vgg16", "vgg11"]


@pytest.mark.parametrize(
    "name",
    [*OF_TORCHVISION, "resnet18.a1_in1k", "hf-hub:timm/resnet18", "https://example.org/x", "", None, 18],
)
def test_encoder_folders_name_only_networks_that_need_no_download(
    tmp_path: Path, name: Any, no_network: list[str]
) -> None:
    """torchvision makes some networks with weights that it downloads, asked or not."""
    folder = write_drawn_encoder(Layout(tmp_path))
    write_json(folder / "config.json", read_json(folder / "config.json") | {"encoder": name})
    with pytest.raises(EncoderUnreadable, match=r"config\.json: the encoder must be one of patch_resnet, "):
        read_encoder(folder, torch.device("cpu"))
    assert not no_network


def test_sentences_do_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with exit_on_user_error():
            raise UserError("refused: \x1b]0;title\x07 and \u202egpj.exe\nerror: done")

    with pytest.raises(SystemExit):
        fail()
    output = capsys.readouterr().err
    assert output.removesuffix("\n").isprintable()
    assert r"\x1b" in output


def is_formula(cell: str) -> bool:
    return cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r"))


def test_no_cell_begins_a_formula_and_labels_come_back(tmp_path: Path) -> None:
    path = tmp_path / "per_class.csv"
    write_csv(path, ["label", "recall"], [{"label": label, "recall": -0.5} for label in FORMULAS])
    with path.open(newline="", encoding="utf-8") as file:
        cells = [row["label"] for row in csv.DictReader(file)]
    assert not any(map(is_formula, cells))
    table = read_table(path, ["label", "recall"], text=("label",))
    assert table["label"].to_list() == FORMULAS
    assert table["recall"].to_list() == [-0.5] * len(FORMULAS)


def test_names_of_columns_are_no_formulas_either() -> None:
    file = io.StringIO()
    write_statistics_csv([{"column": "=cmd()", "findings": [], "clusters": 3}], file)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [row["column"] for row in rows] == ["'=cmd()"]


def test_every_test_that_the_page_names_is_there() -> None:
    import re

    text = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
    named: list[str] = re.findall(r"`(tests/[^`]+)`", text)
    assert len(named) > 10
    check: Callable[[str], bool] = lambda name: (REPOSITORY / name).exists()  # noqa: E731
    assert [name for name in named if not check(name)] == []
