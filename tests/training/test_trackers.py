"""Epochs reach the trackers that are asked for, once each, also after a kill."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from dvc.repo import Repo

from listener import Listener
from pipeline.runtime.errors import UserError
from pipeline.training import trackers as trackers_module
from pipeline.training.trackers import TRACKERS, Trackers, tracker_names
from pipeline.untrusted.dvc.environment import SENDS_NOTHING

ROWS = [{"epoch": epoch, "loss": 3.0 / epoch, "rankme": 10.0 * epoch} for epoch in (1, 2, 3)]

pytestmark = pytest.mark.filterwarnings("default")  # the libraries' own


def in_tensorboard(folder: Path) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder))
    read.Reload()
    return [(event.step, event.value) for event in read.Scalars("loss")]


def in_dvclive(folder: Path) -> list[tuple[int, float]]:
    table = pd.read_csv(folder / "plots/metrics/loss.tsv", sep="\t")
    return list(zip(table["step"], table["loss"], strict=True))


READERS: dict[str, Callable[[Path], list[tuple[int, float]]]] = {
    "dvclive": in_dvclive,
    "tensorboard": in_tensorboard,
}


@pytest.mark.parametrize("name", TRACKERS)
def test_epochs_are_written_once_though_training_went_back(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    trackers = Trackers([name], tmp_path / "live")
    trackers.begin([])
    trackers.add(ROWS[0])
    trackers.add(ROWS[1] | {"loss": 99.0})
    # Another process, later; of the second epoch no state was saved.
    trackers.close()
    trackers = Trackers([name], tmp_path / "live")
    trackers.begin(ROWS[:1])
    trackers.add(ROWS[1])
    trackers.add(ROWS[2])
    trackers.close()
    assert READERS[name](tmp_path / "live" / name) == [(1, 3.0), (2, 1.5), (3, 1.0)]
    if name == "dvclive":
        summary = json.loads((tmp_path / "live/dvclive/metrics.json").read_text())
        assert summary == {"loss": 1.0, "rankme": 30.0, "step": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["live"]


def test_the_environment_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLINFONCE_TRACKERS", raising=False)
    assert tracker_names() == []
    monkeypatch.setenv("CLINFONCE_TRACKERS", "tensorboard, dvclive")
    assert tracker_names() == ["tensorboard", "dvclive"]
    monkeypatch.setenv("CLINFONCE_TRACKERS", "wandb")
    with pytest.raises(
        UserError, match="CLINFONCE_TRACKERS=wandb is no tracker: use one or more of dvclive,tens"
    ):
        tracker_names()


def test_a_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(_folder: Path) -> trackers_module.Tracker:
        raise ModuleNotFoundError("No module named 'tensorboard'")

    monkeypatch.setitem(TRACKERS, "tensorboard", missing)
    with pytest.raises(UserError, match="is not installed: `uv sync --extra tensorboard`"):
        Trackers(["tensorboard"], tmp_path).begin([])


def test_dvclive_asks_no_server_that_the_repository_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dvclive")
    for name in SENDS_NOTHING:
        monkeypatch.setenv(name, "")  # it is restored behind the test
        del os.environ[name]
    monkeypatch.chdir(tmp_path)
    Repo.init(no_scm=True)
    with Listener() as listener:
        address = f"http://127.0.0.1:{listener.port}"
        (tmp_path / ".dvc/config").write_text(
            f"[core]\n    no_scm = true\n[studio]\n    token = isat_x\n    url = {address}\n"
            "    repo_url = https://example.org/r.git\n"
        )
        monkeypatch.setenv("DVC_EXP_BASELINE_REV", "0" * 40)
        monkeypatch.setenv("DVC_EXP_NAME", "tried")
        trackers = Trackers(["dvclive"], tmp_path / "live")
        trackers.begin([])
        trackers.add(ROWS[0])
        trackers.close()
        assert not listener.requested
