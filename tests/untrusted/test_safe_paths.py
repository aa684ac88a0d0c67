"""Strangers' files are regular files inside of their folder, or they are not opened."""

import os
import pickle
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.runtime.errors import UserError
from pipeline.untrusted import safe_paths
from pipeline.untrusted.safe_paths import Root, SafePath
from pipeline.untrusted.unsafe_path import FOLDER, LEADS_OUT, MISSING, SPECIAL, UnsafePath
from support import ALLOWED_BY, OUT, bounded, socket_at

pytestmark = pytest.mark.usefixtures("without_waiting")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """images/a.jpg; links to it, to a neighbour of the folder and of a folder whose name starts alike."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "images/a.jpg").write_bytes(b"a")
    (tmp_path / "data-private").mkdir()
    (tmp_path / "data-private/b.jpg").write_bytes(b"b")
    (folder / "near").symlink_to("images")
    (folder / "near.jpg").symlink_to(folder / "images/a.jpg")
    (folder / "far").symlink_to("../data-private")
    (folder / "far.jpg").symlink_to(tmp_path / "data-private/b.jpg")
    (folder / "back.jpg").symlink_to("../data/images/a.jpg")
    (folder / "broken.jpg").symlink_to("/nowhere/c.jpg")
    (folder / "dangling.jpg").symlink_to("c.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "zero").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    (folder / "linked-pipe").symlink_to("pipe")
    return folder


INSIDE = ["images/a.jpg", "near/a.jpg", "./images/a.jpg", "images//a.jpg", "near.jpg", "back.jpg"]


@pytest.mark.parametrize("member", INSIDE)
def test_what_lies_inside_is_read(folder: Path, member: str) -> None:
    file = bounded(folder).file(member)
    assert file.path == folder / member
    with file.open_binary() as opened:
        assert opened.read() == b"a"
    assert file.read_whole(1) == b"a"
    assert file.read_whole(0) is None


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("/etc/passwd", f"the path is absolute, {ALLOWED_BY}"),
        ("../data-private/b.jpg", f"the path holds .., {ALLOWED_BY}"),
        ("images/../images/a.jpg", f"the path holds .., {ALLOWED_BY}"),
        ("far/b.jpg", OUT),
        ("far.jpg", OUT),
        ("broken.jpg", OUT),
        ("zero", OUT),
        ("pipe", SPECIAL),
        ("linked-pipe", SPECIAL),
        ("a\0.jpg", "the path holds a null byte"),
        ("\ud800.jpg", "the path is not UTF-8 text"),
    ],
)
def test_what_a_table_may_not_name(folder: Path, member: str, reason: str) -> None:
    with pytest.raises(UnsafePath) as refused:
        bounded(folder).file(member)
    assert refused.value.reason == reason
    if reason.endswith(ALLOWED_BY) and member not in ("zero",):
        assert Root(folder, None).file(member).path == folder / member
    else:
        with pytest.raises(UnsafePath):
            Root(folder, None).file(member)


@pytest.mark.parametrize(
    ("member", "reason", "anywhere"),
    [
        ("far/b.jpg", OUT, None),
        ("far.jpg", OUT, None),
        ("broken.jpg", OUT, MISSING),
        ("zero", OUT, SPECIAL),
        ("pipe", SPECIAL, SPECIAL),
        ("linked-pipe", SPECIAL, SPECIAL),
        ("images", FOLDER, FOLDER),
        ("near", FOLDER, FOLDER),
        ("dangling.jpg", MISSING, MISSING),
        ("images/a.jpg/b.jpg", MISSING, MISSING),
        ("loop.jpg", "the file can't be read: Too many levels of symbolic links", None),
        ("x" * 300, "the file can't be read: File name too long", None),
        ("a\0.jpg", "the path holds a null byte or half a character", None),
        ("\ud800.jpg", "the path holds a null byte or half a character", None),
    ],
)
def test_what_is_not_opened(folder: Path, member: str, reason: str, anywhere: str | None) -> None:
    """Nor is a file that was not looked at before."""
    ways: list[Callable[[SafePath], object]] = [
        SafePath.open_binary,
        SafePath.open_text,
        lambda file: file.read_whole(100),
        lambda file: file.pinned().__enter__(),
    ]
    for way in ways:
        with pytest.raises(UnsafePath) as refused:
            way(bounded(folder).at(member))
        assert refused.value.reason == reason
        if anywhere is not None:
            with pytest.raises(UnsafePath) as refused:
                way(SafePath(folder / member))
            assert refused.value.reason == anywhere


def test_special_files_of_every_kind(folder: Path) -> None:
    socket_at(folder / "socket")
    for name in ("/dev/zero", "/dev/full", "/dev/null", "/dev/tty", "socket", "pipe"):
        with pytest.raises(UnsafePath, match="pipe, socket or device"):
            SafePath(folder / name).open_binary()


def test_a_pipe_is_not_touched(folder: Path) -> None:
    """Who writes to it still waits for a reader."""
    with pytest.raises(UnsafePath):
        SafePath(folder / "pipe").open_binary()
    with pytest.raises(OSError, match="No such device"):
        os.open(folder / "pipe", os.O_WRONLY | os.O_NONBLOCK)


def test_the_message_is_a_sentence_and_survives_a_process(folder: Path) -> None:
    sentence = rf"^{folder}/pipe can't be read \({SPECIAL}\): put a regular file in its place$"
    with pytest.raises(UnsafePath, match=sentence) as found:
        SafePath(folder / "pipe").open_binary()
    again = pickle.loads(pickle.dumps(found.value))  # noqa: S301 - ours
    assert (str(again), again.reason) == (str(found.value), SPECIAL)
    with pytest.raises(UserError, match=r"absent does not exist: check its name and folder$"):
        SafePath(folder / "absent").open_binary()


def test_a_fault_of_the_machine_is_none_of_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_many(*_: object, **__: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", too_many)
    with pytest.raises(OSError, match="Too many open files"):
        SafePath(folder / "images/a.jpg").open_binary()


def test_what_is_refused_by_its_name_is_not_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path may be mounted by looking at it."""
    root = bounded(folder)
    monkeypatch.setattr(os, "stat", lambda *_, **__: pytest.fail("looked at"))
    monkeypatch.setattr(os, "lstat", lambda *_, **__: pytest.fail("looked at"))
    for member in ("/net/host/share/a.jpg", "../a.jpg"):
        with pytest.raises(UnsafePath):
            root.file(member)


def test_a_folder_that_is_itself_a_link_is_a_root(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert bounded(tmp_path / "link").file("images/a.jpg").read_whole(9) == b"a"


def test_a_folder_in_it_can_be_a_boundary_of_its_own(folder: Path) -> None:
    (folder / "images/up.txt").symlink_to("../secret.txt")
    (folder / "secret.txt").write_text("secret")
    assert bounded(folder).below("images").file("up.txt").read_whole(9) == b"secret"
    with pytest.raises(UnsafePath, match=LEADS_OUT):
        bounded(folder).bounded("images").file("up.txt")
    with pytest.raises(UnsafePath, match=LEADS_OUT):
        bounded(folder).bounded("far")
    assert Root(folder, None).bounded("far").file("b.jpg").read_whole(9) == b"b"


# --- what changes between a look and an opening -------------------------------------------------------------


@pytest.mark.parametrize(
    ("swap", "reason"),
    [
        (lambda path, secret: path.symlink_to(secret), OUT),
        (lambda path, secret: os.mkfifo(path), SPECIAL),
        (lambda path, secret: path.symlink_to("/dev/zero"), SPECIAL),
        (lambda path, secret: path.mkdir(), FOLDER),
    ],
    ids=["link", "pipe", "device", "folder"],
)
def test_a_swap_between_the_look_and_the_opening_gains_nothing(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    swap: Callable[[Path, Path], None],
    reason: str,
) -> None:
    path, secret, before = folder / "images/a.jpg", tmp_path / "data-private/b.jpg", os.lstat

    def swapped_after(looked_at: Path) -> os.stat_result:
        status = before(looked_at)
        if Path(looked_at) == path and path.is_file():
            path.unlink()
            swap(path, secret)
        return status

    file = bounded(folder).file("images/a.jpg")
    monkeypatch.setattr(os, "lstat", swapped_after)
    with pytest.raises(UnsafePath) as refused:
        file.open_binary()
    assert refused.value.reason == reason


def test_a_folder_on_the_way_that_becomes_a_link_gains_nothing(folder: Path) -> None:
    """The look at it is remembered; the descriptor tells where it leads now."""
    root = bounded(folder)
    assert root.file("images/a.jpg").read_whole(9) == b"a"
    (folder / "images").rename(folder / "moved")
    (folder / "images").symlink_to("../data-private")
    assert root.file("images/b.jpg").path == folder / "images/b.jpg"
    with pytest.raises(UnsafePath, match=LEADS_OUT):
        root.file("images/b.jpg").open_binary()


def test_the_same_without_linux(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_paths, "_DESCRIPTORS", "/nowhere")
    root = bounded(folder)
    for member in INSIDE:
        assert root.at(member).read_whole(9) == b"a"
    for member in ("far/b.jpg", "far.jpg"):
        with pytest.raises(UnsafePath, match=LEADS_OUT):
            root.at(member).open_binary()
    with root.at("images/a.jpg").pinned() as pinned:
        assert pinned == folder / "images/a.jpg"


def test_a_race_of_real_threads(folder: Path, tmp_path: Path) -> None:
    """A name that is now a file and now a link to a secret: what is read is the file, or nothing."""
    path, secret = folder / "images/a.jpg", tmp_path / "data-private/b.jpg"
    kept, link, stop = folder / "images/kept", folder / "images/link", threading.Event()
    kept.write_bytes(b"a")

    def swap() -> None:
        while not stop.is_set():
            link.unlink(missing_ok=True)
            link.symlink_to(secret)
            os.replace(link, path)
            link.unlink(missing_ok=True)
            os.link(kept, link)
            os.replace(link, path)

    swapper = threading.Thread(target=swap)
    swapper.start()
    read, refused, last = 0, 0, time.monotonic() + 0.5
    try:
        while time.monotonic() < last or not read or not refused:
            try:
                assert bounded(folder).at("images/a.jpg").read_whole(9) == b"a"
                read += 1
            except UnsafePath:
                refused += 1
    finally:
        stop.set()
        swapper.join()


def test_a_library_reads_the_file_that_was_pinned(folder: Path) -> None:
    table, path = pa.table({"a": [1, 2]}), folder / "a.parquet"
    pq.write_table(table, path)
    with bounded(folder).at("a.parquet").pinned() as pinned:
        path.unlink()
        os.mkfifo(path)
        assert pq.read_table(pinned).equals(table)


def test_what_a_library_says_names_the_file(folder: Path) -> None:
    (folder / "a.parquet").write_bytes(b"no Parquet at all")
    with (
        pytest.raises(pa.ArrowInvalid, match=f"'{folder}/a.parquet'"),
        bounded(folder).at("a.parquet").pinned() as pinned,
    ):
        pq.read_table(pinned)


def test_no_descriptor_stays_open(folder: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for member in ("images/a.jpg", "far.jpg", "pipe", "images", "absent", "loop.jpg"):
        for way in (SafePath.open_binary, SafePath.open_text):
            with suppress(UnsafePath):
                way(bounded(folder).at(member)).close()
    assert len(os.listdir("/proc/self/fd")) == before


NAMES = st.sampled_from(["a", "b", "c"])
TARGETS = st.lists(st.sampled_from(["a", "b", "c", "..", "/"]), min_size=1, max_size=4).map("/".join)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.lists(NAMES, min_size=1, max_size=3), st.none() | TARGETS), max_size=8))
def test_whatever_links_there_are_what_is_read_lies_inside(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[list[str], str | None]]
) -> None:
    """Files hold their own real path."""
    top = tmp_path_factory.mktemp("links")
    folder = top / "a/b/data"
    folder.mkdir(parents=True)
    for outside in (top / "a/c", top / "a/b/c"):
        outside.write_text(os.path.realpath(outside))
    for names, target in entries:
        place = folder.joinpath(*names)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if target is None:
                place.write_text(os.path.realpath(place))
            else:
                place.symlink_to(target)
        except OSError:
            continue
    root = bounded(folder)
    for names, _ in entries:
        member = "/".join(names)
        try:
            with root.at(member).open_text() as file:
                real = file.read()
        except UnsafePath:
            continue
        assert real.startswith(f"{os.path.realpath(folder)}/")
        assert root.file(member).path == folder / member


HASH = "d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize(
    ("target", "is_object"),
    [
        (f"cache/files/md5/{HASH[:2]}/{HASH[2:]}", True),
        (f"cache/files/md5/{HASH[:2]}/{HASH[2:]}/a", False),
        (f"cache/files/md5/{HASH[:2]}/{HASH[2:]}.dir", False),
        (f"cache/files/md5/{HASH[:2]}/{HASH[2:].upper()}", False),
        (f"cache/md5/{HASH[:2]}/{HASH[2:]}", False),
        (f"cache/files/md5/{HASH}", False),
        ("private/a", False),
    ],
)
def test_an_object_of_dvc_is_inside_only_of_a_boundary_that_counts_it(
    tmp_path: Path, target: str, is_object: bool
) -> None:
    (tmp_path / target).parent.mkdir(parents=True)
    (tmp_path / target).write_bytes(b"content")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/link").symlink_to(tmp_path / target)
    for with_objects in (False, True):
        within = safe_paths.Boundary.around(tmp_path / "data", ALLOWED_BY, with_dvc_objects=with_objects)
        root = Root(tmp_path / "data", within)
        if with_objects and is_object:
            with root.file("link").open_binary() as opened:
                assert opened.read() == b"content"
            continue
        with pytest.raises(UnsafePath) as unlisted:
            root.file("link")
        with pytest.raises(UnsafePath) as unread:
            root.at("link").read_whole(9)
        assert unlisted.value.reason == unread.value.reason == OUT
