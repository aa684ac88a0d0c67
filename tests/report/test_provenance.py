import subprocess
from pathlib import Path

import pytest

from pipeline.report.arms import read_arms
from pipeline.report.provenance import commit, run_table
from pipeline.storage.timings import timed
from report.fake_data import FakeData


def git(*arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(
        ["git", *who, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_the_commit_and_whether_files_differ_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() is None
    for name in ("params.yaml", "dvc.lock", "data/report/metrics.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "start")
    head = git("rev-parse", "HEAD")[:12]
    assert commit() == head
    (tmp_path / "dvc.lock").write_text("2")
    (tmp_path / "data/report/metrics.json").write_text("2")
    assert commit() == head, "what a run itself writes is no change"
    (tmp_path / "params.yaml").write_text("2")
    assert commit() == f"{head} with changes"


def test_times_of_the_stages_as_far_as_they_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINFONCE_STATE_DIR", str(tmp_path / "state"))
    ticks = iter([0.0, 7.0])
    monkeypatch.setattr("pipeline.storage.timings.time.monotonic", lambda: next(ticks))
    layout = FakeData(references=["instance"]).write(tmp_path / "data")
    with timed("evaluate@chosen", layout.evaluation("chosen") / "metrics.json"):
        pass
    output = {row[0].text: row[1].text for row in run_table(layout, read_arms(layout, ["instance"])).rows}
    # Eight epochs of 12.5 s.
    assert output["Time of attributes"] == "pretrain 2 min, evaluate 7.0 s"
    assert output["Time of instance"] == "pretrain 2 min"
    assert output["Time of ingest"] == "–"  # noqa: RUF001 - an en dash
