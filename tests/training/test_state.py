"""State folders: one holder, whole files, and a name that follows from all that decides the result."""

import multiprocessing
import os
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import torch

from pipeline.errors import UserError
from pipeline.files import state_root
from pipeline.training import state as state_module
from pipeline.training.state import StateFolder, fingerprint


def hold(folder: Path, held: Event, release: Event) -> None:
    with StateFolder(folder).locked():
        held.set()
        release.wait(30)


def test_a_second_trainer_is_refused_with_the_holder_s_id(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(tmp_path / "s", held, release))
    holder.start()
    try:
        assert held.wait(30)
        with (
            pytest.raises(UserError, match=f"process {holder.pid} is training this already"),
            StateFolder(tmp_path / "s").locked(),
        ):
            pass
    finally:
        holder.kill()  # the lock must end with the process, however that ends
        holder.join()
    with StateFolder(tmp_path / "s").locked():
        assert (tmp_path / "s" / "lock").read_text() == str(os.getpid())


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    states = StateFolder(tmp_path / "s")
    assert states.load() == (None, [])
    state = {"weights": {"w": torch.randn(3)}, "progress": {"epoch": 2, "history": [{"loss": 1.5}]}}
    states.save(state)
    saved = state["weights"]["w"].clone()
    state["weights"]["w"] += 1  # training goes on while the thread writes
    states.wait()
    loaded, damaged = states.load()
    assert loaded is not None
    assert damaged == []
    assert loaded["progress"] == state["progress"]
    assert torch.equal(loaded["weights"]["w"], saved)
    states.discard()
    assert not (tmp_path / "s").exists()


def test_saving_is_due_when_it_is_cheap_beside_the_time_that_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINFONCE_SAVING_SHARE", "0.02")
    now = 100.0
    monkeypatch.setattr(state_module.time, "monotonic", lambda: now)
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
