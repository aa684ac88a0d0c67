"""Faults of the machine, made by the machine itself where it can be brought to, end in one sentence."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import SafetensorError

from pipeline.errors import UserError, fault_of_the_machine, told_in_a_sentence
from pipeline.training.state import _write


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """Refuses every byte, as a full disk does. A link, which libraries may remove after they failed."""
    device = Path("/dev/full")
    if not device.is_char_device():
        pytest.skip("this system has no /dev/full")
    (tmp_path / "full").symlink_to(device)
    return tmp_path / "full"


def refuse(number: int) -> Callable[[], None]:
    def fail() -> None:
        raise OSError(number, os.strerror(number), "data/\x1b[31mimages")

    return fail


def wrapped() -> None:
    try:
        refuse(errno.EDQUOT)()
    except OSError as error:
        raise RuntimeError("the writer failed") from error


def without_gpu_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.\nGPU 0 has ...")


def of_safetensors() -> None:
    # As it tells of a full disk; it writes beside the file's place, so that /dev/full is of no use.
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


FAULTS: dict[str, tuple[Callable[[], Any], str]] = {
    "a full disk, by safetensors": (of_safetensors, "(No space left on device): make room"),
    "a full quota, told by another error": (wrapped, "make room, or ask for a larger quota"),
    "no permission": (refuse(errno.EACCES), r"images (Permission denied): give yourself the permission"),
    "read-only": (refuse(errno.EROFS), "(Read-only file system): make that disk writable"),
    "many files": (refuse(errno.EMFILE), "(ulimit -n)"),
    "memory, by Python": (lambda: bytearray(2**60), "the memory is not enough (MemoryError)"),
    "memory, by numpy": (lambda: np.ones(2**57), "the memory is not enough (Unable to allocate"),
    "memory, by pyarrow": (lambda: pa.allocate_buffer(2**60), "the memory is not enough (malloc of size"),
    "memory, by torch": (lambda: torch.ones(2**57), "the memory is not enough ("),
    "memory of a GPU": (without_gpu_memory, "the memory is not enough (CUDA out of memory. Tried"),
}


WRITERS: dict[str, Callable[[Path], Any]] = {
    "Python": lambda path: path.write_text("x"),
    "pyarrow": lambda path: pq.write_table(pa.table({"a": [1]}), path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_told_whoever_writes(full: Path, name: str) -> None:
    with pytest.raises(Exception, match=r".") as failed:
        WRITERS[name](full)
    assert "(No space left on device): make room" in (fault_of_the_machine(failed.value) or "")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_machine_is_told_in_a_sentence(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    fail, sentence = FAULTS[name]
    with pytest.raises(SystemExit) as ended, told_in_a_sentence():
        fail()
    assert ended.value.code == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: ")
    assert sentence in said
    assert said.endswith("what was done is not lost, and nothing half-written is left")
    assert "\x1b" not in said


def test_a_state_on_a_full_disk_is_one(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Under this name it is written at first.
    monkeypatch.setattr(Path, "with_name", lambda _path, _name: full)
    with pytest.raises(Exception, match=r".") as failed:
        _write(full.parent / "state.pt", {"weights": torch.ones(2**20)})
    assert "No space left on device" in (fault_of_the_machine(failed.value) or "")


def test_other_errors_keep_their_traceback() -> None:
    for error in (
        KeyError("cat"),
        OSError("damaged page"),
        RuntimeError("shapes differ"),
        FileNotFoundError(2),
    ):
        assert fault_of_the_machine(error) is None
        with pytest.raises(type(error)), told_in_a_sentence():
            raise error


def test_a_mistake_is_told_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), told_in_a_sentence():
        raise UserError("name a folder that can be read") from PermissionError(errno.EACCES, "no")
    assert capsys.readouterr().err == "error: name a folder that can be read\n"
