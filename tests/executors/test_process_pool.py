"""Jobs done by processes: in order, and without what killed one of them."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pipeline.executors import select as choice
from pipeline.executors.base import Executor, Job, JobState, WorkerKilled, ordered_results
from pipeline.executors.select import ExecutorName, engine_named_by_environment, open_executor
from pipeline.executors.workers import worker_count
from pipeline.runtime.errors import UserError
from pipeline.untrusted.isolation.limits import limited


def write(items: Sequence[str], seconds: float, path: Path) -> None:
    """What the items are, but for one that kills."""
    for item in limited(items):
        if item == "killer":
            os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(seconds)
    path.write_text(" ".join(items))


def refuse(items: Sequence[str], path: Path) -> None:
    raise UserError(f"{path.name} can't be made")


def die(items: Sequence[str], path: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refused(item: str, reason: str) -> str:
    return "refused"


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Executor]:
    monkeypatch.setenv("CLINFONCE_WORKERS", "2")
    with open_executor(ExecutorName.LOCAL, several_jobs=request.param) as opened:
        yield opened


both = pytest.mark.parametrize("executor", [False, True], indirect=True, ids=["one job", "several"])


@both
def test_files_come_in_the_order_of_the_jobs(executor: Executor, tmp_path: Path) -> None:
    # The first takes longest.
    jobs = [Job(write, ([str(n)], 0.0 if n else 0.2), tmp_path / str(n), refused) for n in range(7)]
    jobs[3].path.write_text("there already")
    result = list(ordered_results(((job, job.path.exists()) for job in jobs), executor))
    assert result == [(job.path, number == 3) for number, job in enumerate(jobs)]
    assert [path.read_text() for path, _ in result] == ["0", "1", "2", "there already", "4", "5", "6"]


@both
def test_no_more_is_taken_from_the_source_than_the_workers_need(executor: Executor, tmp_path: Path) -> None:
    taken = 0

    def jobs() -> Iterator[JobState]:
        nonlocal taken
        for number in range(20):
            taken += 1
            yield Job(write, ([str(number)], 0.0), tmp_path / str(number), refused), False

    next(ordered_results(jobs(), executor))
    assert taken == executor.ahead + 1


@both
def test_a_killed_process_costs_the_other_jobs_nothing(executor: Executor, tmp_path: Path) -> None:
    texts = [["a"], ["b", "killer", "c"], ["d"], ["killer", "killer"], ["e"]]
    jobs = [Job(write, (text, 0.0), tmp_path / f"{n}", refused) for n, text in enumerate(texts)]
    result = [path.read_text() for path, _ in ordered_results(((job, False) for job in jobs), executor)]
    assert result == ["a", "b refused c", "d", "refused refused", "e"]


@both
def test_a_job_that_dies_of_no_item_is_given_up(executor: Executor, tmp_path: Path) -> None:
    with pytest.raises(WorkerKilled):
        list(ordered_results([(Job(die, (["a"],), tmp_path / "x", refused), False)], executor))


@both
def test_what_a_job_raises_is_raised(executor: Executor, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="x can't be made"):
        list(ordered_results([(Job(refuse, (["a"],), tmp_path / "x", refused), False)], executor))


def test_the_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker_count() >= 1
    monkeypatch.setenv("CLINFONCE_WORKERS", "3")
    assert worker_count() == 3
    monkeypatch.setenv("CLINFONCE_WORKERS", "none")
    with pytest.raises(UserError, match="CLINFONCE_WORKERS=none"):
        worker_count()


def test_the_engine_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(choice.EXECUTOR_VARIABLE, raising=False)
    assert engine_named_by_environment() is ExecutorName.LOCAL
    monkeypatch.setenv(choice.EXECUTOR_VARIABLE, "ray")
    assert engine_named_by_environment() is ExecutorName.RAY
    monkeypatch.setenv(choice.EXECUTOR_VARIABLE, "spark")
    with pytest.raises(UserError, match="CLINFONCE_EXECUTOR must be one of local, ray, not spark"):
        engine_named_by_environment()
