"""A reader sees the old file or the new one, and errors leave nothing behind."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.runtime.errors import UserError
from pipeline.storage.files import (
    check_output,
    read_json,
    replaced_directory,
    resolve_user_path,
    state_root,
    version_of,
    write_atomically,
    write_csv,
    write_json,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"old": 1})

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(target, fail)
    assert read_json(target) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_user_s_path_is_looked_for_from_the_repository_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("repository", "temporary"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "temporary")
    (tmp_path / "repository" / "table.csv").write_text("x")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert resolve_user_path("table.csv") == Path("table.csv")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "repository"))
    assert resolve_user_path("table.csv").read_text() == "x"
    assert resolve_user_path("absent.csv") == Path("absent.csv")
    Path("table.csv").write_text("nearer")
    assert resolve_user_path("table.csv").read_text() == "nearer"


def test_a_project_may_be_a_folder_of_the_repository_that_dvc_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (
        "repository/teams/one",
        "temporary/teams/one",
        "temporary/.dvc",
        "repository/teams/photos",
    ):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.delenv("CLINFONCE_STATE_DIR", raising=False)
    monkeypatch.chdir(tmp_path / "temporary/teams/one")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "repository"))
    assert resolve_user_path("../photos").is_dir()
    assert state_root() == tmp_path / "repository/teams/one/.clinfonce"


def test_json_refuses_what_json_is_not(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_that_flushes_nothing_holds_the_file_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    write_json(tmp_path / "a.json", 1)
    assert read_json(tmp_path / "a.json") == 1
    number = errno.EIO
    with pytest.raises(OSError, match="Input/output error"):
        write_json(tmp_path / "a.json", 2)
    assert read_json(tmp_path / "a.json") == 1


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with replaced_directory(target) as fresh:
        (fresh / "a").write_text("1")

    def fail() -> None:
        with replaced_directory(target) as fresh:
            (fresh / "b").write_text("2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in target.iterdir()] == ["a"]
    with replaced_directory(target) as fresh:
        (fresh / "b").write_text("2")
    assert [path.name for path in target.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_that_only_looks_left_behind_is_left(tmp_path: Path) -> None:
    stranger = tmp_path / f".a.json.{'9' * 20}.tmp"
    stranger.write_text("half")
    write_json(tmp_path / "a.json", 1)
    assert stranger.exists()


def test_csv_leaves_unknown_cells_empty(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["x", "y"], [{"x": 1, "y": None}, {"y": "a,b"}])
    assert (tmp_path / "a.csv").read_text() == '"x","y"\n"1",""\n"","a,b"\n'


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    dead, living = (tmp_path / f".a.json.{process}.tmp" for process in (ended.pid, os.getppid()))
    for path in (dead, living):
        path.write_text("half")
    write_json(tmp_path / "a.json", 1)
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", living.name}


def test_a_link_in_place_of_a_temporary_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f".a.json.{os.getpid()}.tmp").symlink_to(victim)
    write_json(tmp_path / "a.json", 1)
    assert victim.read_text() == "precious"
    assert (tmp_path / "a.json").read_text() == "1\n"
    assert not (tmp_path / "a.json").is_symlink()


@pytest.mark.parametrize("path", ["", ".", "..", "/", "folder", "folder/", "folder/..", "link"])
def test_a_folder_is_no_place_for_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("link").symlink_to("folder")
    for write in (
        check_output,
        lambda place: write_text(place, "text"),
        lambda place: write_csv(place, [], []),
    ):
        with pytest.raises(UserError, match="is a folder, where a file is needed: move it away, or name"):
            write(Path(path))
    with pytest.raises(UserError, match=r"^--html .* is a folder"):
        check_output(Path(path), "--html")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "link"]


def test_places_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "nowhere").symlink_to("nothing")
    for name in ("file", "link", "nowhere", "new", "new/one"):
        check_output(tmp_path / name, "--html")


def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(os.devnull)
    for path in (tmp_path / "pipe", tmp_path / "link"):
        before = path.stat()
        with pytest.raises(UserError, match="is a device or a pipe: name a file for the output"):
            write_text(path, "text")
        assert path.stat().st_ino == before.st_ino
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


@pytest.mark.parametrize("way", ["in its place", "by a rename"])
def test_another_content_of_the_same_size_and_time_is_another_version(tmp_path: Path, way: str) -> None:
    """As `cp -p` and `rsync -t` leave it."""
    file, other = tmp_path / "a.bmp", tmp_path / "b.bmp"
    for path in (file, other):
        path.write_bytes(path.name.encode())
        os.utime(path, ns=(0, 0))
    before = version_of(file.stat())
    assert version_of(file.stat()) == before
    if way == "by a rename":
        other.rename(file)
    else:
        noted = file.stat().st_ctime_ns
        while file.stat().st_ctime_ns == noted:  # the kernel's clock ticks in milliseconds
            shutil.copy2(other, file)
    assert file.stat().st_mtime_ns == 0
    assert version_of(file.stat()) != before


@pytest.mark.parametrize(
    "chain", [["/proc/self/fd/1"], ["next", "/dev/stdout"], ["/dev/fd/1"], ["up/proc/self/fd/1"]]
)
def test_what_a_process_has_open_is_no_place_for_an_output(tmp_path: Path, chain: list[str]) -> None:
    (tmp_path / "up").symlink_to("/")
    for name, target in zip(["stdout", "next"], chain, strict=False):
        (tmp_path / name).symlink_to(target)
    with pytest.raises(UserError, match="stdout is a link to what a process has open: name a file"):
        check_output(tmp_path / "stdout", "--html")
    assert (tmp_path / "stdout").is_symlink()


def test_links_to_files_and_in_circles_are_no_such_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "nowhere").symlink_to("absent/file")
    for name in ("file", "link", "circle", "nowhere"):
        check_output(tmp_path / name)
