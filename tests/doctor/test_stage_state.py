"""How far the pipeline has come."""

from collections.abc import Callable
from pathlib import Path

import pytest

from doctor.small_project import one, tiny, write_params
from pipeline.doctor import stage_state as stages
from pipeline.doctor.base import Situation

LOCK = """
schema: '2.0'
stages:
  ingest:
    cmd: python stages/ingest.py
    params:
      params.yaml:
        seed: 0
        ingest:
          image_size: 12
          max_reject_fraction: 0.01
  cluster@chosen:
    cmd: python stages/cluster.py chosen
    params:
      params.yaml:
        pretrain.batch_size: 64
        seed: 0
"""


def test_what_is_there_and_what_was_made_with_other_parameters(ingested: Situation) -> None:
    Path("dvc.lock").write_text(LOCK)
    checks = stages.look(ingested)
    assert one(checks, "ingest").found == "done: 18 train and 6 test images, 0 refused"
    made_otherwise = one(checks, "cluster@chosen")
    assert made_otherwise.status == "warn"
    assert made_otherwise.found.startswith("was made with pretrain.batch_size=64, and params.yaml")
    assert one(checks, "pretrain@label").found == "not yet"
    assert one(checks, "params.yaml").status == "ok"


@pytest.mark.parametrize(
    "lock",
    ["stages: [1]", "stages: {ingest: 5}", "stages: {ingest: {params: 5}}", "5", "a: [", "<<<<<<< HEAD"],
)
def test_a_lock_that_dvc_did_not_write_fails(ingested: Situation, lock: str) -> None:
    Path("dvc.lock").write_text(lock)
    checks = stages.look(ingested)
    assert one(checks, "dvc.lock").status == "fail"
    assert "dvc.lock of workspace" in one(checks, "dvc.lock").found
    assert one(checks, "ingest").status == "ok"


def test_a_mistake_in_params_yaml_fails(folder: Path) -> None:
    path = folder / "params.yaml"
    path.write_text(path.read_text().replace("method: attributes", "method: guesses"))
    found = one(stages.look(Situation(None)), "params.yaml")
    assert found.status == "fail"
    assert "cluster.method=guesses" in found.found


def test_outside_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checks = stages.look(Situation(None))
    assert (one(checks, "repository").status, one(checks, "params.yaml").status) == ("fail", "fail")


def test_without_git_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # pytest's folder may lie inside of somebody's repository.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    Path(".dvc").mkdir()
    found = one(stages.look(Situation(None)), "repository")
    assert found.status == "fail"
    assert "`git init &&" in found.cure


def test_unfinished_trainings_are_named(
    folder: Path, manifest: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_params(folder, tiny(manifest()))
    (folder / "states" / "chosen-abc").mkdir(parents=True)
    (folder / "states" / "chosen-abc" / "state.pt").write_bytes(bytes(2000))
    monkeypatch.setenv("CLINFONCE_STATE_DIR", "states")
    assert one(stages.look(Situation(None)), "unfinished trainings").found.startswith("chosen-abc, 2.0 kB")


def test_own_files_that_dvc_would_remove_are_named(ingested: Situation) -> None:
    assert all("no stage wrote" not in check.found for check in stages.look(ingested))
    Path("data/images/mine.jpg").touch()
    found = one(stages.look(ingested), "data/images")
    assert found.status == "fail"
    assert found.found == "holds mine.jpg, which no stage wrote, and which DVC will remove"
