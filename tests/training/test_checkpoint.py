"""State folders: one holder, whole files, and a name that follows from all that decides the result."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from threading import Thread

import pytest
import torch

from pipeline.runtime.distributed import ALONE, Ranks
from pipeline.runtime.errors import UserError
from pipeline.storage.files import state_root
from pipeline.training import checkpoint as state_module
from pipeline.training.checkpoint import StateFolder, fingerprint
from pipeline.training.shutdown import Interrupted, StopRequest
from processes import in_ranks

pytestmark = pytest.mark.slow


def hold(folder: Path, held: Event, release: Event) -> None:
    with StateFolder(folder).locked("pretrain", ALONE, StopRequest()):
        held.set()
        release.wait(100)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[BaseProcess]:
    """A process that holds the folder `s` until it is killed."""
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path / "s", held, release))
    process.start()
    assert held.wait(100)
    yield process
    process.kill()
    process.join()


def when_awaited(folder: Path, do: Callable[[], object]) -> Thread:
    """Does it as soon as somebody waits for the folder."""

    def wait() -> None:
        while not (folder / "waiting").exists():
            time.sleep(0.01)
        do()

    thread = Thread(target=wait)
    thread.start()
    return thread


def test_a_second_trainer_waits_for_the_first(
    tmp_path: Path, holder: BaseProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    # However it ends, the lock ends with it.
    killing = when_awaited(tmp_path / "s", holder.kill)
    with StateFolder(tmp_path / "s").locked("pretrain chosen", ALONE, StopRequest()):
        assert (tmp_path / "s" / "lock").read_text() == str(os.getpid())
    killing.join()
    expected = f"pretrain chosen: process {holder.pid} is training this already: waiting for it\n"
    assert capsys.readouterr().err == expected


def test_who_waits_can_be_stopped(tmp_path: Path, holder: BaseProcess) -> None:
    stop = StopRequest()
    stopping = when_awaited(tmp_path / "s", lambda: setattr(stop, "signal_number", 15))
    with pytest.raises(Interrupted), StateFolder(tmp_path / "s").locked("pretrain", ALONE, stop):
        pass
    stopping.join()
    assert holder.is_alive()


def wait_in_rank(ranks: Ranks, folder: Path) -> bool:
    with StateFolder(folder).locked("pretrain", ranks, StopRequest()):
        return True


def test_ranks_wait_together(tmp_path: Path, holder: BaseProcess) -> None:
    killing = when_awaited(tmp_path / "s", holder.kill)
    assert in_ranks(2, tmp_path / "ranks", wait_in_rank, tmp_path / "s") == [True, True]
    killing.join()


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    states = StateFolder(tmp_path / "s")
    assert states.load() == (None, [])
    weights, progress = {"w": torch.randn(3)}, {"epoch": 2, "history": [{"loss": 1.5}]}
    states.save({"weights": weights, "progress": progress})
    saved = weights["w"].clone()
    weights["w"] += 1  # training goes on while the thread writes
    states.wait()
    loaded, damaged = states.load()
    assert loaded is not None
    assert damaged == []
    assert loaded["progress"] == progress
    assert torch.equal(loaded["weights"]["w"], saved)
    states.discard()
    assert not (tmp_path / "s").exists()


def test_saving_is_due_when_it_is_cheap_beside_the_time_that_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINFONCE_SAVING_SHARE", "0.02")
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    write = state_module._write

    def slow(path: Path, state: state_module.State) -> None:
        nonlocal now
        write(path, state)
        now += 0.5

    monkeypatch.setattr(state_module, "_write", slow)
    states = StateFolder(tmp_path)
    assert states.due
    states.save({"epoch": 1})
    states.wait()
    for passed, due in ((24.0, False), (25.1, True)):
        now = 100.0 + passed
        assert states.due == due
    monkeypatch.setenv("CLINFONCE_SAVING_SHARE", "none")
    with pytest.raises(UserError, match="CLINFONCE_SAVING_SHARE=none is no share of the time"):
        StateFolder(tmp_path)


def test_the_fingerprint_follows_choices_and_inputs(tmp_path: Path) -> None:
    data = tmp_path / "a"
    data.write_bytes(b"1")
    first = fingerprint({"epochs": 3}, [data])
    assert fingerprint({"epochs": 3}, [data]) == first
    assert fingerprint({"epochs": 4}, [data]) != first
    data.write_bytes(b"2")
    assert fingerprint({"epochs": 3}, [data]) != first


def test_the_root_follows_dvc_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLINFONCE_STATE_DIR", raising=False)
    monkeypatch.setenv("DVC_ROOT", "repo")
    assert state_root() == Path("repo/.clinfonce")
    monkeypatch.setenv("CLINFONCE_STATE_DIR", "elsewhere")
    assert state_root() == Path("elsewhere")
