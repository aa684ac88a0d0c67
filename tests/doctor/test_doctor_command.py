"""`clinfonce doctor` as it is typed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.doctor import run as command
from pipeline.doctor.base import Situation
from pipeline.storage.schema import Layout
from support import blank_out_all_but

pytestmark = pytest.mark.slow


def files_below(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size if path.is_file() else 0)
        for path in [folder, *folder.rglob("*")]
    }


def test_it_measures_and_leaves_everything_as_it_was(ingested: Situation) -> None:
    """The columns of labels, hashtags and hierarchy can't be read: who asks for them fails."""
    for shard in Layout().images.glob("t*-of-*.parquet"):
        blank_out_all_but({"id", "image", "attributes", "width", "height"}, shard)
    before = files_below(Path())
    ended = CliRunner().invoke(app, ["doctor", "--json", "--seconds", "0.05"])
    assert files_below(Path()) == before
    output = json.loads(ended.stdout)
    checks = [check for section in output["sections"] for check in section["checks"]]
    assert not [check for check in checks if check["status"] == "fail"]
    assert ended.exit_code == 0
    assert [section["title"] for section in output["sections"]] == list(command.PARTS.values())
    cost = output["sections"][-1]["checks"]
    assert "images/s" in cost[1]["found"]
    assert all(check["cure"] for check in checks if check["status"] != "ok")


def test_a_failure_is_the_exit_code_and_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(app, ["doctor"])
    assert ended.exit_code == 1
    assert "params.yaml does not exist" in " ".join(ended.stdout.split())
    assert ended.exception is None or isinstance(ended.exception, SystemExit)
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_breaks_does_not_end_the_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_situation: Situation) -> None:
        raise ImportError("libcudart.so.13: [/cannot] open\nand more")

    monkeypatch.setattr("pipeline.doctor.hardware.look", broken)
    ended = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["doctor", "--seconds", "0"])
    assert "could not be looked at: ImportError: libcudart.so.13: [/cannot] open" in ended.stdout
    assert "Pipeline" in ended.stdout
    assert ended.exit_code == 1
