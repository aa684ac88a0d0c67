"""One process at a time, also where a file system has no locks."""

import errno
import fcntl
import os
import shutil
from pathlib import Path
from typing import TextIO

import pytest

from pipeline.ingest.chunk_files import chunk_folder
from pipeline.runtime.errors import UserError
from pipeline.storage import locks
from pipeline.storage.locks import FileLock, exclusive_lock

NO_LOCKS = [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL]


def test_the_holder_is_named(tmp_path: Path) -> None:
    with (
        exclusive_lock(tmp_path / "a/lock", "training this"),
        pytest.raises(UserError, match=rf"process {os.getpid()} is training this already"),
        exclusive_lock(tmp_path / "a/lock", "training this"),
    ):
        pass
    with exclusive_lock(tmp_path / "a/lock", "training this"):
        pass


def test_a_lock_whose_folder_its_holder_removed_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening it and locking it, the holder removes the folder and lets go."""
    opened = locks.open_lock

    def open_and_remove(lock: Path) -> TextIO:
        file = opened(lock)
        monkeypatch.setattr(locks, "open_lock", opened)
        shutil.rmtree(lock.parent)
        return file

    monkeypatch.setattr(locks, "open_lock", open_and_remove)
    with exclusive_lock(tmp_path / "a/lock", "training this"):
        assert (tmp_path / "a/lock").read_text() == str(os.getpid())
        with pytest.raises(UserError, match="already"), exclusive_lock(tmp_path / "a/lock", "training this"):
            pass


def test_the_holder_sees_whether_another_process_waits(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.try_acquire()
    assert not second.try_acquire()
    assert second.holder == str(os.getpid())
    assert not first.has_waiters()
    assert second.announce_waiting()
    assert not second.announce_waiting()
    assert first.has_waiters()
    first.close()
    assert second.try_acquire()
    assert not second.has_waiters()
    second.close()


def test_waiting_is_announced_again_in_a_folder_that_was_made_anew(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "a/lock"), FileLock(tmp_path / "a/lock")
    assert first.try_acquire()
    second.announce_waiting()
    shutil.rmtree(tmp_path / "a")
    assert not second.announce_waiting()
    third = FileLock(tmp_path / "a/lock")
    assert third.try_acquire()
    second.announce_waiting()
    assert third.has_waiters()
    for one in (first, second, third):
        one.close()


@pytest.mark.parametrize("number", NO_LOCKS, ids=errno.errorcode.get)
def test_without_locks_work_goes_on_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    def refuse(_file: object, _how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setenv("CLINFONCE_STATE_DIR", str(tmp_path))
    with exclusive_lock(tmp_path / "lock", "training this"):
        assert (tmp_path / "lock").read_text() == str(os.getpid())
    with chunk_folder("choices") as folder:
        assert folder.is_dir()
    said = capsys.readouterr().err
    assert said.count("has no locks") == 2
    assert "CLINFONCE_STATE_DIR" in said


def test_another_fault_of_a_lock_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_file: object, _how: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="broken"), exclusive_lock(tmp_path / "lock", "training this"):
        pass


def test_where_no_folder_can_be_made(tmp_path: Path) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("this system has no /proc")
    with (
        pytest.raises(UserError, match="set CLINFONCE_STATE_DIR"),
        exclusive_lock(Path("/proc/a/lock"), "at it"),
    ):
        pass


def test_a_lock_that_cannot_be_made_is_a_fault_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(FileExistsError), exclusive_lock(tmp_path / "state/lock", "training this"):
        pass


def test_no_link_is_followed_to_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim, lock = tmp_path / "victim", tmp_path / "v.parquet.parts/lock"
    victim.write_text("precious")
    lock.parent.mkdir()
    lock.symlink_to(victim)
    with pytest.raises(UserError, match=r"lock is a link, pipe or device"), exclusive_lock(lock, "embedding"):
        pass
    assert victim.read_text() == "precious"
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(UserError, match=r"lock is a link, pipe or device"), exclusive_lock(lock, "embedding"):
        pass


def test_a_state_folder_that_cannot_be_made_ends_ingest_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLINFONCE_STATE_DIR", "/proc/a")
    with pytest.raises(UserError, match="no folder can be made at /proc/a/ingest-"), chunk_folder("x"):
        pass
