"""Folders are listed once each, whatever links there are, and none too deep."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.untrusted.safe_paths import DEEPEST, Root
from pipeline.untrusted.unsafe_path import SPECIAL, UnsafePath
from pipeline.untrusted.walk import CIRCLE, TWICE, Skipped, Walk, names_in
from support import OUT, bounded


def listed(root: Root, member: str = "", *, hidden: bool = True) -> tuple[list[str], dict[str, str]]:
    found = list(Walk(root, hidden=hidden).files([member]))
    skipped = {one.path: one.reason for one in found if isinstance(one, Skipped)}
    return [one for one in found if isinstance(one, str)], skipped


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for name in ("images/a.jpg", "images/deep/b.jpg", "z.jpg", ".hidden/c.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    (tmp_path / "private").mkdir()
    (tmp_path / "private/p.jpg").write_bytes(b"")
    (folder / "a-link").symlink_to("images")
    (folder / "far").symlink_to("../private")
    (folder / "far.jpg").symlink_to("../private/p.jpg")
    (folder / "images/circle").symlink_to("..")
    (folder / "images/self").symlink_to("self")
    (folder / "to-hidden").symlink_to(".hidden")
    os.mkfifo(folder / "pipe")
    return folder


def test_all_files_below_a_folder(folder: Path) -> None:
    files, skipped = listed(bounded(folder))
    assert files == [".hidden/c.jpg", "images/a.jpg", "images/deep/b.jpg", "images/self", "z.jpg"]
    assert skipped == {
        "a-link": TWICE,
        "far": OUT,
        "far.jpg": OUT,
        "images/circle": CIRCLE,
        "pipe": SPECIAL,
        "to-hidden": TWICE,
    }


def test_where_links_may_lead_out_circles_still_end(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "private/back").symlink_to("../data")
    files, skipped = listed(Root(folder, None))
    assert set(files) >= {"far/p.jpg", "far.jpg", "images/a.jpg"}
    assert skipped["far/back"] == TWICE


def test_what_is_hidden_is_reached_by_a_link_alone(folder: Path) -> None:
    files, skipped = listed(bounded(folder), hidden=False)
    assert "to-hidden/c.jpg" in files
    assert ".hidden/c.jpg" not in files
    assert "to-hidden" not in skipped


def test_what_systems_leave_is_counted(tmp_path: Path) -> None:
    files = ["a.jpg", "b/c.jpg"]
    left = [".DS_Store", "b/Thumbs.db", "b/._c.jpg", "desktop.ini", "b/@eaDir/c.jpg/x.jpg", "__MACOSX/a.jpg"]
    left += [
        "lost+found/x",
        ".Trash-1000/files/x.jpg",
        ".ipynb_checkpoints/a-checkpoint.jpg",
        "$RECYCLE.BIN/x",
    ]
    for name in files + left:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    walk = Walk(bounded(tmp_path))
    assert list(walk.files()) == files
    assert walk.passed_over.count == len(left)
    assert walk.passed_over.notes() == [
        "10 hidden files and folders, or such of systems, are passed over, the first of them $RECYCLE.BIN"
    ]
    assert names_in(bounded(tmp_path)) == (["b"], ["a.jpg"])


def test_a_folder_is_read_once_in_all_of_a_walk(folder: Path) -> None:
    walk = Walk(bounded(folder))
    assert list(walk.files(["images/deep"])) == ["images/deep/b.jpg"]
    assert list(walk.files(["images/deep"])) == [Skipped("images/deep", TWICE)]


def test_links_are_followed_after_all_members(folder: Path) -> None:
    found = list(Walk(bounded(folder)).files(["a-link", "images/deep", "images"]))
    assert found[:2] == ["images/deep/b.jpg", "images/a.jpg"]
    assert Skipped("a-link", TWICE) in found


@pytest.mark.parametrize("member", ["absent", "z.jpg", "far", "pipe"])
def test_what_is_no_folder_is_skipped_with_its_reason(folder: Path, member: str) -> None:
    files, skipped = listed(bounded(folder), member)
    assert (files, [*skipped]) == ([], [member])
    with pytest.raises(UnsafePath):
        names_in(bounded(folder).below(member))


@pytest.mark.parametrize("outside", [False, True])
def test_a_tangle_of_links_makes_no_more_files_than_there_are(tmp_path: Path, outside: bool) -> None:
    """24 folders, each with two links to the next: 2**24 ways to the one image."""
    for number in range(24):
        folder = tmp_path / f"data/{number:02d}"
        folder.mkdir(parents=True)
        if number < 23:
            (folder / "x").symlink_to(f"../{number + 1:02d}")
            (folder / "y").symlink_to(f"../{number + 1:02d}")
    (tmp_path / "data/23/a.jpg").write_bytes(b"")
    root = Root(tmp_path / "data", None) if outside else bounded(tmp_path / "data")
    files, skipped = listed(root)
    assert files == ["23/a.jpg"]
    assert len(skipped) == 46
    assert listed(root, "00")[0] == ["/".join(["00", *"x" * 23, "a.jpg"])]


@contextmanager
def nested(folder: Path, name: str, times: int) -> Iterator[None]:
    """Folders in folders, until the block ends: pytest can't remove so many."""
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(times):
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    try:
        yield
    finally:
        subprocess.run(["rm", "-r", folder / name], check=True)


def test_a_tree_of_1200_folders(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with nested(tmp_path, "deeper", 1200):
        files, skipped = listed(bounded(tmp_path))
    assert files == ["a.jpg"]
    ((path, reason),) = skipped.items()
    assert reason == f"more than {DEEPEST} folders deep"
    assert path.count("deeper") == DEEPEST + 1


def test_names_that_are_longer_than_a_path_may_be(tmp_path: Path) -> None:
    with nested(tmp_path, "x" * 250, 20):
        files, skipped = listed(bounded(tmp_path))
    assert files == []
    assert [*skipped.values()] == ["the file can't be read: File name too long"]


def test_paths_that_are_too_long_only_from_the_root_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system opens such a folder, and can't say where it lies."""
    monkeypatch.chdir(tmp_path)
    Path("source").mkdir()
    with nested(tmp_path / "source", "x" * 203, 20):
        files, skipped = listed(bounded(Path("source")))
    assert files == []
    assert [*skipped.values()] == ["the file can't be read: File name too long"]


def test_a_folder_that_becomes_a_link_is_not_followed_out(folder: Path, tmp_path: Path) -> None:
    walk = Walk(bounded(folder), hidden=True).files()
    assert next(walk) == ".hidden/c.jpg"
    (folder / "images").rename(tmp_path / "moved")
    (folder / "images").symlink_to("../private")
    assert Skipped("images", OUT) in list(walk)


def test_names(folder: Path) -> None:
    names = (["a-link", "far", "images", "to-hidden"], ["far.jpg", "pipe", "z.jpg"])
    assert names_in(bounded(folder)) == names_in(Root(folder, None)) == names
    assert names_in(bounded(folder).below("a-link"))[1] == ["a.jpg", "self"]


@pytest.mark.parametrize("target", ["../private", "/", "far", "far/below", "a-link/../../private"])
def test_what_lies_outside_is_refused_unlisted(
    folder: Path, tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "private/below").mkdir()
    (folder / "out").symlink_to(target)
    assert names_in(Root(folder, None).below("out"))
    monkeypatch.setattr(os, "scandir", lambda _: pytest.fail("it was listed"))
    with pytest.raises(UnsafePath, match=rf"{OUT}\): put what it leads to in its place$"):
        names_in(bounded(folder).below("out"))
    with pytest.raises(UnsafePath, match=OUT):
        names_in(bounded(folder).below("far/below"))


NAMES = st.sampled_from(["a", "b", "c"])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.lists(NAMES, min_size=1, max_size=4), st.booleans(), NAMES), max_size=10))
def test_each_file_is_listed_once_and_every_real_one_is(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[list[str], bool, str]]
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    for names, is_link, target in entries:
        place = folder.joinpath(*names)
        try:
            place.mkdir(parents=True, exist_ok=True)
            if is_link:
                (place / "link").symlink_to(folder / target)
            else:
                (place / "file").write_bytes(b"")
        except OSError:
            continue
    files, _ = listed(bounded(folder))
    expected = {os.path.relpath(path, folder) for path in folder.rglob("file")}
    assert {file for file in files if not file.endswith("link")} == expected
    assert len(files) == len(set(files))
