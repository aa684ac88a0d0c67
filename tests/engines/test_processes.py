"""Jobs done by processes: in order, again where a process was killed, and never half."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pipeline.engines.in_process import InProcess

from pipeline.engines import choice
from pipeline.engines.base import Engine, Job, WorkerKilled, made_in_order
from pipeline.engines.choice import EngineName, engine_named_by_environment, opened_engine
from pipeline.engines.processes import Processes
from pipeline.engines.workers import worker_count
from pipeline.errors import UserError
from support import REPOSITORY


def write(text: str, seconds: float, path: Path) -> None:
    time.sleep(seconds)
    path.write_text(text)


def die_or_write(text: str, path: Path) -> None:
    if text == "killer":
        os.kill(os.getpid(), signal.SIGKILL)
    path.write_text(text)


def refuse(path: Path) -> None:
    raise UserError(f"{path.name} can't be made")


def no_mending(job: Job) -> Job:
    raise AssertionError(job)


@pytest.mark.parametrize("several_jobs", [False, True])
def test_files_come_in_the_order_of_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, several_jobs: bool
) -> None:
    monkeypatch.setenv("CLINFONCE_WORKERS", "2")
    # The first takes longest.
    jobs = [Job(write, (str(n), 0.2 if n == 0 else 0.0), tmp_path / str(n)) for n in range(7)]
    jobs[3].path.write_text("there already")
    with opened_engine(EngineName.LOCAL, several_jobs=several_jobs) as engine:
        assert isinstance(engine, Processes if several_jobs else InProcess)
        made = list(made_in_order(((job, job.path.exists()) for job in jobs), engine, no_mending))
    assert made == [(job.path, number == 3) for number, job in enumerate(jobs)]
    assert [path.read_text() for path, _ in made] == ["0", "1", "2", "there already", "4", "5", "6"]


def test_no_more_is_taken_from_the_source_than_the_workers_need(tmp_path: Path) -> None:
    engine, taken = Processes(1), 0

    def jobs() -> object:
        nonlocal taken
        for number in range(20):
            taken += 1
            yield Job(write, (str(number), 0.0), tmp_path / str(number)), False

    try:
        next(made_in_order(jobs(), engine, no_mending))  # type: ignore[arg-type]
    finally:
        engine.close()
    assert taken == engine.ahead + 1


def test_a_killed_process_costs_the_other_jobs_nothing(tmp_path: Path) -> None:
    texts = ["a", "b", "killer", "c", "d", "e"]
    jobs = [Job(die_or_write, (text,), tmp_path / f"{n}") for n, text in enumerate(texts)]
    suspects: list[str] = []

    def mended(job: Job) -> Job:
        suspects.append(job.arguments[0])
        try:
            engine.alone(job)
        except WorkerKilled:
            return Job(die_or_write, ("instead",), job.path)
        return job

    engine: Engine = Processes(2)
    try:
        made = [path.read_text() for path, _ in made_in_order(((job, False) for job in jobs), engine, mended)]
    finally:
        engine.close()
    assert made == ["a", "b", "instead", "c", "d", "e"]
    assert "killer" in suspects


@pytest.mark.parametrize("several_jobs", [False, True])
def test_what_a_job_raises_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, several_jobs: bool
) -> None:
    monkeypatch.setenv("CLINFONCE_WORKERS", "2")
    jobs = [(Job(refuse, (), tmp_path / "x"), False)]
    with (
        opened_engine(EngineName.LOCAL, several_jobs=several_jobs) as engine,
        pytest.raises(UserError, match="x can't be made"),
    ):
        list(made_in_order(jobs, engine, no_mending))


UNGUARDED = """
from pathlib import Path
from pipeline.engines.base import Job
from pipeline.engines.processes import Processes

Processes(1).submit(Job(Path.touch, (), Path("made"))).wait()
"""


def test_a_script_that_each_process_would_run_again_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    ran = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "UserError: no further process can be started" in ran.stderr
    assert not (tmp_path / "made").exists()


def test_the_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker_count() >= 1
    monkeypatch.setenv("CLINFONCE_WORKERS", "3")
    assert worker_count() == 3
    monkeypatch.setenv("CLINFONCE_WORKERS", "none")
    with pytest.raises(UserError, match="CLINFONCE_WORKERS=none"):
        worker_count()


def test_the_engine_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(choice.ENGINE_VARIABLE, raising=False)
    assert engine_named_by_environment() is EngineName.LOCAL
    monkeypatch.setenv(choice.ENGINE_VARIABLE, "ray")
    assert engine_named_by_environment() is EngineName.RAY
    monkeypatch.setenv(choice.ENGINE_VARIABLE, "spark")
    with pytest.raises(UserError, match="CLINFONCE_ENGINE=spark names no engine: set it to local or ray"):
        engine_named_by_environment()
