"""`clinfonce run`: the stages of dvc.yaml, without DVC."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dvc.repo import Repo

from pipeline.experiments.run_stages import run_stages, stage_commands
from pipeline.runtime.errors import UserError
from project import Project
from support import REPOSITORY

STAGES = """
stages:
  first:
    cmd: exec python stage.py one
    outs: [one.txt]
  second:
    foreach: [a, b]
    do: &second
      cmd: exec python stage.py two-${item}
  third:
    foreach: [c]
    do:
      <<: *second
"""
SCRIPT = """
import os, pathlib, sys, time
with open("said.txt", "a") as said:
    print(sys.argv[1], os.environ["DVC_STAGE"], file=said)
if sys.argv[1] == "two-b" and pathlib.Path("fails").exists():
    sys.exit(3)
if sys.argv[1] == "one" and pathlib.Path("waits").exists():
    sys.path.insert(0, {root!r})
    from pipeline.runtime.parent import end_with_dvc
    end_with_dvc()
    pathlib.Path("waiting").write_text(str(os.getpid()))
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    (tmp_path / "dvc.yaml").write_text(STAGES)
    (tmp_path / "stage.py").write_text(SCRIPT.format(root=str(REPOSITORY)))
    return tmp_path


def said(folder: Path) -> list[str]:
    return (folder / "said.txt").read_text().splitlines()


def test_stages_run_in_order_and_know_their_names(folder: Path) -> None:
    run_stages(None, folder)
    assert said(folder) == ["one first", "two-a second@a", "two-b second@b", "two-c third@c"]


def test_it_begins_where_it_is_to(folder: Path) -> None:
    run_stages("second@b", folder)
    assert said(folder) == ["two-b second@b", "two-c third@c"]
    with pytest.raises(UserError, match="no stage second: name one of first, second@a, second@b, third@c"):
        run_stages("second", folder)


def test_a_failure_ends_it_and_says_how_to_resume(folder: Path) -> None:
    (folder / "fails").touch()
    with pytest.raises(
        UserError, match=r"second@b ended with exit code 3: `clinfonce run --from second@b` runs"
    ):
        run_stages(None, folder)
    assert len(said(folder)) == 3


@pytest.mark.parametrize(
    "stages",
    [
        "stages: {one: {cmd: touch x}}",
        "stages: {one: {cmd: exec python 'x}}",
        "stages: [1]",
        "x: 1",
        "[1]",
        "3",
        "stages: {1: {cmd: exec python -c 1}}",
        "stages: {one: {foreach: [" + "a" * 2000 + "], do: {cmd: 'exec python ${item}'}}}",
    ],
)
def test_what_only_dvc_could_run(folder: Path, stages: str) -> None:
    (folder / "dvc.yaml").write_text(stages)
    with pytest.raises(UserError, match=r"dvc.yaml has stages that only DVC can run"):
        run_stages(None, folder)


def test_parameters_are_checked_first(folder: Path) -> None:
    (folder / "params.yaml").write_text("pretrain: {epochs: many}")
    with pytest.raises(UserError, match=r"pretrain.epochs"):
        run_stages(None, folder)
    assert not (folder / "said.txt").exists()


@pytest.mark.faults
def test_a_killed_run_ends_its_stage_and_frees_the_folder(folder: Path) -> None:
    (folder / "waits").touch()
    code = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import pipeline.cli as c; c.main_command()"
    with subprocess.Popen([sys.executable, "-c", code, "run"], cwd=folder) as process:
        while not (folder / "waiting").exists() or not (folder / "waiting").read_text():
            assert process.poll() is None
            time.sleep(0.02)
        with pytest.raises(UserError, match=f"process {process.pid} is running the stages already"):
            run_stages("third@c", folder)
        process.kill()
    stage = int((folder / "waiting").read_text())
    deadline = time.monotonic() + 30
    while _runs(stage):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run_stages("third@c", folder)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not (state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def test_they_are_the_stages_and_the_order_of_dvc() -> None:
    with Repo(REPOSITORY) as repo:
        stages = {stage.addressing: stage for stage in repo.index.stages}
    commands = dict(stage_commands(REPOSITORY))
    assert {name: stage.cmd for name, stage in stages.items()} == {
        name: " ".join(["exec", "python", *arguments]) for name, arguments in commands.items()
    }
    written: list[Path] = []
    later = [Path(out.fs_path) for stage in stages.values() for out in stage.outs]
    for name in commands:
        written += [Path(out.fs_path) for out in stages[name].outs]
        for dep in stages[name].deps:
            read = Path(dep.fs_path)
            needed = [out for out in later if out == read or read in out.parents or out in read.parents]
            assert set(needed) <= set(written), f"{name} reads {read}"


@pytest.mark.slow
def test_outputs_are_those_of_dvc(project: Project) -> None:
    before = {path: path.read_bytes() for path in (project.root / "data/evaluations").rglob("*.json")}
    metrics = (project.root / "data/report/metrics.json").read_bytes()
    project.run("clinfonce", "run", "--from", "evaluate@chosen")
    assert {path: path.read_bytes() for path in before} == before
    assert (project.root / "data/report/metrics.json").read_bytes() == metrics
    # The report says how long stages took.
    assert project.would_run() in ([], ["report"])
