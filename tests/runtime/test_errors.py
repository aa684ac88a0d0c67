"""Faults of the machine, made by the machine itself where it can be brought to, end in one sentence."""

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import SafetensorError

from pipeline.config.params import check_params
from pipeline.runtime import errors
from pipeline.runtime.errors import UserError, exit_on_user_error, system_error_message
from pipeline.storage.files import replaced_directory, write_text
from pipeline.training.checkpoint import _write
from support import REPOSITORY


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


def of_shared_memory() -> None:
    raise RuntimeError("unable to write to file </torch_123_456_0>: No space left on device (28)")


FAULTS |= {
    "shared memory": (of_shared_memory, "(No space left on device): make room"),
    "memory, by C++": (
        lambda: _raise(RuntimeError("std::bad_alloc")),
        "memory is not enough (std::bad_alloc)",
    ),
    "memory, by the loader": (
        lambda: _raise(ImportError("libtorch.so: failed to map segment from shared object")),
        "the memory is not enough (libtorch.so: failed",
    ),
    "threads": (lambda: _raise(RuntimeError("can't start new thread")), "(ulimit -u)"),
}
CURES = {
    errno.ENOENT: "choose another place",
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "where a folder is needed"),
    errno.EISDIR: "where a file is needed",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ELOOP: "links that lead in a circle",
    errno.EIO: "check that disk",
    errno.ESTALE: "mount that network file system again",
    errno.ENOTEMPTY: "end what writes into that folder",
    errno.EXDEV: "on one file system",
    errno.ETXTBSY: "end the program",
    errno.ENOLCK: "a file system with locks",
    errno.EAGAIN: "ulimit -u",
}
# As FUSE, Lustre, soft NFS, CIFS and 9p report a server that is gone; other systems lack some of them.
OF_SOME_SYSTEMS = {
    **dict.fromkeys(
        ("ENOTCONN", "ESHUTDOWN", "ETIMEDOUT", "EHOSTDOWN", "EREMOTEIO"),
        "check the network, and mount the file system again",
    ),
    **dict.fromkeys(("EUCLEAN", "EBADMSG"), "check that file system, which reports that it is damaged"),
    **dict.fromkeys(("ENODEV", "ENXIO"), "check that disk, which is gone"),
    "EKEYEXPIRED": "whose key is missing",
}
CURES |= {getattr(errno, name): cure for name, cure in OF_SOME_SYSTEMS.items() if hasattr(errno, name)}
FAULTS |= {f"errno {errno.errorcode[number]}": (refuse(number), cure) for number, cure in CURES.items()}


def _raise(error: Exception) -> None:
    raise error


def test_what_was_done_without_is_no_fault_of_the_machine() -> None:
    """A mistake of the program keeps its traceback, although something was missing before."""

    def fail() -> None:
        try:
            Path("nowhere/at/all").read_text()
        except FileNotFoundError:
            dict[str, int]()["key"]

    with pytest.raises(KeyError) as mistake:
        fail()
    assert system_error_message(mistake.value) is None


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="this system has no /proc")
@pytest.mark.parametrize(
    "write",
    [
        lambda: write_text(Path("/proc/x.html"), "x"),
        lambda: write_text(Path("/proc/x/y.html"), "x"),
        lambda: Path("/proc/x").mkdir(parents=True, exist_ok=True),
    ],
)
def test_a_place_where_nothing_can_be_made(
    write: Callable[[], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, exit_on_user_error():
        write()
    assert ended.value.code == 2
    assert "error: the machine refuses at /proc/" in capsys.readouterr().err


@pytest.mark.parametrize("length", [201, 5_000, 1_000_000])
def test_a_long_value_is_cut_in_its_middle(length: int, capsys: pytest.CaptureFixture[str]) -> None:
    for report in (
        lambda: check_params({"cluster": {"method": "x" * length}}),
        lambda: check_params({"pretrain": {"epochs": "x" * length}}),
        lambda: check_params({"x" * length: 1}),
        lambda: check_params({"report": {"references": "x" * length}}),
        lambda: _raise(OSError(errno.ENOSPC, "full", "/data/" + "x" * length)),
    ):
        with pytest.raises(SystemExit), exit_on_user_error():
            report()
        said = capsys.readouterr().err
        # A text that no parameter may be is not quoted at all.
        assert "x ... x" in said or "holds 1,000,000 characters" in said
        assert said.count("x") <= 250
    with pytest.raises(SystemExit), exit_on_user_error():
        raise UserError(f"the file {'y' * length} does not exist: " + "z " * length)
    said = capsys.readouterr().err
    assert len(said) <= 2100
    assert said.count("y") <= 200


def test_a_path_with_a_null_byte_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="null") as refused:
        Path("data/a\0b").read_text()
    assert system_error_message(refused.value) == (
        "a path holds a null byte, which no file's name can: choose another"
    )


@pytest.mark.parametrize("name", [os.fsdecode(b"\xff.parquet"), "half\ud800.parquet"])
def test_a_path_that_is_not_utf_8_is_a_mistake(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError) as failed:
        pq.write_table(pa.table({"a": [1]}), tmp_path / name)
    sentence = system_error_message(failed.value)
    assert sentence is not None
    sentence.encode()
    assert sentence.endswith(".parquet is not UTF-8 text, as a path here must be: choose another")
    with pytest.raises(UnicodeEncodeError) as other:
        "ä".encode("ascii")
    assert system_error_message(other.value) is None


def test_the_place_without_room_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage

    def full_shared_memory(path: str) -> Any:
        found = usage(os.curdir)
        return found._replace(free=0) if path == "/dev/shm" else found._replace(free=2**40)  # noqa: S108

    monkeypatch.setattr(shutil, "disk_usage", full_shared_memory)
    for error in (
        OSError(errno.ENOSPC, "full"),
        RuntimeError("unable to mmap 8 bytes from file <x>: full (28)"),
    ):
        assert "the machine refuses at /dev/shm (No space left" in (system_error_message(error) or "")


def a_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way")


def a_dangling_link(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("nowhere/at/all")


def a_folder(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "content").touch()


@pytest.mark.parametrize("obstacle", [a_file, a_dangling_link])
@pytest.mark.parametrize("place", ["data", "data/report", "data/report/figures"])
def test_what_stands_where_a_folder_is_needed(
    tmp_path: Path, place: str, obstacle: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    obstacle(tmp_path / place)
    with pytest.raises(SystemExit) as ended, exit_on_user_error():
        write_text(tmp_path / "data/report/figures/a.txt", "x")
    assert ended.value.code == 2
    assert "where a folder is needed" in capsys.readouterr().err


def test_a_folder_stands_where_a_file_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_folder(tmp_path / "metrics.json")
    with pytest.raises(SystemExit), exit_on_user_error():
        write_text(tmp_path / "metrics.json", "x")
    assert "where a file is needed" in capsys.readouterr().err


@pytest.mark.parametrize("stands", ["file", "link"])
@pytest.mark.parametrize("where", ["data", "data/evaluations", "data/evaluations/chosen"])
def test_what_stands_where_a_folder_comes_is_named(tmp_path: Path, where: str, stands: str) -> None:
    place = tmp_path / where
    place.parent.mkdir(parents=True, exist_ok=True)
    a_file(place) if stands == "file" else place.symlink_to("nowhere")
    chosen = tmp_path / "data/evaluations/chosen"
    with pytest.raises(OSError, match=r".") as refused, replaced_directory(chosen) as fresh:
        a_file(fresh / "metrics.json")
    sentence = system_error_message(refused.value) or ""
    assert sentence.startswith(f"the machine refuses at {place} (")
    assert "where a folder is needed" in sentence


WRITERS: dict[str, Callable[[Path], Any]] = {
    "Python": lambda path: path.write_text("x"),
    "pyarrow": lambda path: pq.write_table(pa.table({"a": [1]}), path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_told_whoever_writes(full: Path, name: str) -> None:
    with pytest.raises(Exception, match=r".") as failed:
        WRITERS[name](full)
    assert "(No space left on device): make room" in (system_error_message(failed.value) or "")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_machine_is_told_in_a_sentence(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    fail, sentence = FAULTS[name]
    with pytest.raises(SystemExit) as ended, exit_on_user_error():
        fail()
    assert ended.value.code == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: ")
    assert sentence in said
    assert said.endswith("what was done is not lost, and nothing half-written is left")
    assert "\x1b" not in said


def test_a_state_on_a_full_disk_is_one(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def without_room(path: Path, *mode: Any) -> Any:
        return opened(full if path.suffix == ".tmp" else path, *mode)

    monkeypatch.setattr(Path, "open", without_room)
    with pytest.raises(Exception, match=r".") as failed:
        _write(full.parent / "state.pt", {"weights": torch.ones(2**20)})
    assert "No space left on device" in (system_error_message(failed.value) or "")


def test_other_errors_keep_their_traceback() -> None:
    for error in (
        KeyError("cat"),
        OSError("damaged page"),
        RuntimeError("shapes differ"),
        FileNotFoundError(2),
    ):
        assert system_error_message(error) is None
        with pytest.raises(type(error)), exit_on_user_error():
            raise error


def test_a_mistake_is_told_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), exit_on_user_error():
        raise UserError("name a folder that can be read") from PermissionError(errno.EACCES, "no")
    assert capsys.readouterr().err == "error: name a folder that can be read\n"


def test_the_tree_names_every_exception() -> None:
    """All that the package defines, in the docstring of errors.py; private ones are left out."""
    classes = re.compile(r"^class ([A-Z]\w*)\((?:\w*Error|Exception)\):", re.MULTILINE)
    files = (REPOSITORY / "pipeline").rglob("*.py")
    defined = {name for path in files for name in classes.findall(path.read_text())}
    standard = {"Exception", "ValueError", "RuntimeError"}
    tree = set(re.findall(r"[A-Z]\w*[a-z]\w*", str(errors.__doc__).partition("\n")[2])) - standard
    assert defined == tree
