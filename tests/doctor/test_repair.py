"""`clinfonce repair` removes damage and nothing else, and nothing without a yes."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.doctor import repair as module
from pipeline.doctor.repair import repair
from pipeline.runtime.errors import UserError

pytestmark = pytest.mark.slow

PIPELINE = """
stages:
  make:
    cmd: python make.py
    outs:
      - data/images
      - data/clusters/a.txt
      - data/clusters/b.txt
    metrics:
      - data/metrics.json: {cache: false}
  later:
    cmd: python later.py
    outs: [data/later]
"""
MAKE = """
import pathlib
for name in ("images/one.txt", "images/sub/two.txt", "clusters/a.txt", "clusters/b.txt", "metrics.json"):
    path = pathlib.Path("data", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'"content of {name}"')
"""
IMAGES, ONE, A = "data/images", "data/images/one.txt", "data/clusters/a.txt"


def dvc(*arguments: str) -> None:
    command = [sys.executable, "-m", "dvc", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its outputs, whose cache two clones could share: copies, no links."""
    root = tmp_path_factory.mktemp("mending") / "project"
    root.mkdir()
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "make.py").write_text(MAKE)
    before = Path.cwd()
    os.chdir(root)
    try:
        dvc("init", "-q", "--no-scm")
        dvc("config", "core.analytics", "false")
        dvc("repro", "-q", "make")
    finally:
        os.chdir(before)
    return root


@pytest.fixture
def root(result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "project"
    shutil.copytree(result, copy, symlinks=True)
    monkeypatch.chdir(copy)
    return copy


def contents(root: Path) -> dict[str, bytes]:
    """Of all outputs and of DVC's cache."""
    files = [*root.glob("data/**/*"), *root.glob(".dvc/cache/files/**/*")]
    return {str(path.relative_to(root)): path.read_bytes() for path in files if path.is_file()}


def echo(path: str | Path, *, agree: bool = True, recorded: bool = False) -> None:
    repair(Path(path), lambda: agree, recorded=recorded)


def damage(path: Path) -> None:
    path.chmod(0o644)
    path.write_text("damaged")


def cached_copy(root: Path, content: bytes) -> Path:
    (found,) = [path for path in root.glob(".dvc/cache/files/md5/*/*") if path.read_bytes() == content]
    return found


@pytest.mark.parametrize("path", [IMAGES, ONE, "data/images/sub", A, "data/images/absent.txt"])
def test_what_is_whole_stays(root: Path, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(root)
    echo(path)
    assert contents(root) == before
    assert "nothing was removed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "path", ["/", ".", "..", "data", "data/clusters", "data/../data", "stages", "make.py", "/etc"]
)
def test_what_is_no_output_or_more_than_one_is_refused(root: Path, path: str) -> None:
    damage(root / ONE)
    before = contents(root)
    with pytest.raises(UserError, match=r"more than one output of a stage: name one|is no output of a stage"):
        echo(path)
    assert contents(root) == before


def test_a_folder_of_outputs_names_them(root: Path) -> None:
    with pytest.raises(UserError, match=r"data/clusters/a\.txt, data/clusters/b\.txt"):
        echo("data/clusters")


@pytest.mark.parametrize(
    "named", [ONE, IMAGES, "data/images/sub/../one.txt", "data/../data/images", "{root}/data/images"]
)
def test_a_damaged_file_goes_and_the_cache_keeps_its_whole_copy(root: Path, named: str) -> None:
    before = contents(root)
    damage(root / ONE)
    echo(named.format(root=root))
    assert contents(root) == {path: content for path, content in before.items() if path != ONE}
    dvc("repro", "-q", "make")
    assert contents(root) == before


def test_a_damaged_copy_in_the_cache_goes_too(root: Path) -> None:
    before = contents(root)
    cached = cached_copy(root, before[A])
    damage(root / A)
    damage(cached)
    echo(A)
    assert contents(root).keys() == before.keys() - {A, str(cached.relative_to(root))}
    dvc("repro", "-q", "make")
    assert contents(root) == before


def test_a_damaged_list_of_files_takes_its_output_with_it_alone(root: Path) -> None:
    before = contents(root)
    (listing,) = root.glob(".dvc/cache/files/md5/*/*.dir")
    damage(listing)
    echo(IMAGES)
    gone = before.keys() - contents(root).keys()
    assert gone == {ONE, "data/images/sub/two.txt", str(listing.relative_to(root))}
    dvc("repro", "-q", "make")
    assert contents(root) == before


def test_a_file_that_does_not_belong_to_an_output_goes(root: Path) -> None:
    before = contents(root)
    (root / "data/images/stray.txt").write_text("who am I?")
    echo(IMAGES)
    assert contents(root) == before


def test_nothing_goes_without_a_yes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(root / ONE)
    before = contents(root)
    echo(ONE, agree=False)
    assert contents(root) == before
    assert "data/images/one.txt: `dvc repro` brings it back" in capsys.readouterr().out


def test_no_command_of_dvc_changes_anything_while_it_asks(root: Path) -> None:
    damage(root / ONE)

    def agreed() -> bool:
        with (root / ".dvc/tmp/lock").open("a") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True

    repair(Path(ONE), agreed)
    assert not (root / ONE).exists()
    dvc("repro", "-q", "make")


def test_a_folder_that_becomes_a_link_while_it_asks_leads_nowhere(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    victim = root.parent / "victim"
    victim.mkdir()
    (victim / "two.txt").write_text("damaged")
    damage(root / IMAGES / "sub/two.txt")

    def agreed() -> bool:
        (root / IMAGES / "sub").rename(root / "sub")
        (root / IMAGES / "sub").symlink_to(victim)
        return True

    repair(Path(IMAGES), agreed)
    assert (victim / "two.txt").read_text() == "damaged"
    assert "stays, as it changed: data/images/sub/two.txt" in capsys.readouterr().out


@pytest.mark.parametrize("part", ["data", "data/images"])
def test_so_does_one_above(root: Path, part: str) -> None:
    damage(root / ONE)

    def agreed() -> bool:
        (root / part).rename(root.parent / "moved")
        (root / part).symlink_to(root.parent / "moved")
        return True

    repair(Path(ONE), agreed)
    assert (root / ONE).read_text() == "damaged"


def test_a_copy_in_the_cache_that_another_clone_makes_again_while_it_asks_stays(root: Path) -> None:
    before = contents(root)
    cached = cached_copy(root, before[A])
    damage(cached)
    damage(root / A)

    def agreed() -> bool:
        cached.write_bytes(before[A])
        return True

    repair(Path(A), agreed)
    assert contents(root) == {path: content for path, content in before.items() if path != A}


def test_a_file_that_is_made_again_while_it_asks_stays(root: Path) -> None:
    before = contents(root)
    damage(root / ONE)

    def agreed() -> bool:
        (root / ONE).write_bytes(before[ONE])
        return True

    repair(Path(ONE), agreed)
    assert contents(root) == before


@pytest.mark.parametrize("make", [Path.mkdir, Path.unlink, lambda path: path.symlink_to("/etc/hostname")])
def test_what_takes_a_file_s_place_while_it_asks_stays(root: Path, make: Callable[[Path], None]) -> None:
    damage(root / ONE)

    def agreed() -> bool:
        if make != Path.unlink:
            (root / ONE).unlink()
        make(root / ONE)
        return True

    repair(Path(ONE), agreed)
    assert os.path.lexists(root / ONE) == (make != Path.unlink)


def test_a_list_of_files_has_an_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LIST_BYTES", 10)
    with pytest.raises(UserError, match="is larger than 0 MiB: no list of DVC's is"):
        echo(IMAGES)


def test_a_list_of_files_that_is_a_device_is_damaged(root: Path) -> None:
    (listing,) = root.glob(".dvc/cache/files/md5/*/*.dir")
    listing.unlink()
    listing.symlink_to("/dev/zero")
    echo(IMAGES)
    assert not os.path.lexists(listing)


def test_what_was_damaged_before_it_was_recorded_goes_on_demand(root: Path) -> None:
    before = contents(root)
    echo(A, recorded=True)
    cached = next(path for path in before if path.startswith(".dvc") and before[path] == before[A])
    assert before.keys() - contents(root).keys() == {A, cached}
    dvc("repro", "-q", "make")
    assert contents(root) == before


def test_links_are_followed_to_the_output_that_they_name(root: Path) -> None:
    (root / "shortcut").symlink_to("data/images")
    (root / "one").symlink_to(ONE)
    for named in ("shortcut", "shortcut/one.txt", "one"):
        damage(root / ONE)
        echo(named)
        assert not (root / ONE).exists()
        dvc("repro", "-q", "make")
    assert (root / "shortcut").is_symlink()


def test_what_an_output_leads_to_by_a_link_stays(root: Path) -> None:
    """It may be another output, all of whose files would be strays in this one."""
    shutil.rmtree(root / IMAGES)
    (root / "data/other").mkdir()
    (root / "data/other/one.txt").write_text("precious")
    (root / IMAGES).symlink_to("other")
    before = contents(root)
    with pytest.raises(UserError, match=r"data/images is a link, and what it leads to may be another's"):
        echo(IMAGES)
    assert contents(root) == before


def test_it_works_from_a_folder_inside(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(root / ONE)
    monkeypatch.chdir(root / "data/clusters")
    echo("../images/one.txt")
    assert not (root / ONE).exists()


def test_another_clone_on_the_same_cache_keeps_its_objects(root: Path, tmp_path: Path) -> None:
    before = contents(root)
    damage(root / ONE)
    damage(root / A)
    echo(IMAGES)
    echo(A)
    cache = {path: content for path, content in before.items() if path.startswith(".dvc")}
    assert {path: content for path, content in contents(root).items() if path.startswith(".dvc")} == cache


@pytest.mark.parametrize(
    ("path", "sentence"),
    [("data/metrics.json", "is kept by Git and not by DVC"), ("data/later", "has not been made yet")],
)
def test_outputs_without_a_copy_in_the_cache_are_named(root: Path, path: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        echo(path)


def test_outside_of_a_project_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"run it where dvc.yaml lies"):
        echo("data")


def locked_as(root: Path, name: str) -> None:
    """dvc.lock, which may come with a stranger's branch, names `A` so."""
    lock = (root / "dvc.lock").read_text()
    (md5,) = re.findall(r"path: data/clusters/a.txt\n +hash: md5\n +md5: (\w+)", lock)
    (root / "dvc.lock").write_text(lock.replace(md5, name))


@pytest.mark.parametrize("name", ["../../../../../victim", "../..", "0" * 31 + "/", "0" * 33, "a" * 5000])
def test_a_name_in_dvc_lock_that_is_no_md5_leads_nowhere(root: Path, name: str) -> None:
    victim = root.parent / "victim"
    victim.write_text("precious")
    locked_as(root, f"'{name}'")
    before = contents(root)
    with pytest.raises(UserError, match=r"which is no MD5: take the file|dvc.lock. validation failed"):
        echo(A)
    assert victim.read_text() == "precious"
    assert contents(root) == before


@pytest.mark.parametrize("content", [b"a\r\nb\r\n", b"a\nb\n"])
def test_what_is_recorded_by_another_hash_stays(root: Path, content: bytes) -> None:
    """DVC 2 hashed text with its line ends changed: bytes and hash differ though nothing is damaged."""
    (root / A).unlink()
    (root / A).write_bytes(content)
    md5 = hashlib.md5(content.replace(b"\r\n", b"\n")).hexdigest()  # noqa: S324 - DVC's own
    cached = root / f".dvc/cache/{md5[:2]}/{md5[2:]}"
    cached.parent.mkdir()
    cached.write_bytes(content)
    lock = re.sub(
        r"path: data/clusters/a.txt\n +hash: md5\n +md5: \w+",
        f"path: data/clusters/a.txt\n      md5: {md5}",
        (root / "dvc.lock").read_text(),
    )
    (root / "dvc.lock").write_text(lock)
    for recorded in (False, True):
        with pytest.raises(UserError, match="by md5-dos2unix, as DVC 2 did, and not by md5 of its bytes"):
            echo(A, recorded=recorded)
    assert (root / A).read_bytes() == cached.read_bytes() == content


def listed_as(root: Path, content: bytes) -> None:
    """A stranger's cache and dvc.lock: the list of `IMAGES` is `content`, and its checksum fits."""
    (listing,) = root.glob(".dvc/cache/files/md5/*/*.dir")
    name = hashlib.md5(content).hexdigest()  # noqa: S324 - DVC's own
    result = root / f".dvc/cache/files/md5/{name[:2]}/{name[2:]}.dir"
    result.parent.mkdir(exist_ok=True)
    result.write_bytes(content)
    lock = (root / "dvc.lock").read_text()
    old = f"{listing.parent.name}{listing.name}"
    (root / "dvc.lock").write_text(lock.replace(old, f"{name}.dir"))


@pytest.mark.parametrize("relpath", ["../../victim", "link/victim", "sub/../../../victim", "/etc/hostname"])
def test_a_list_of_files_names_none_elsewhere(root: Path, relpath: str) -> None:
    victim = root.parent / "victim"
    victim.write_text("precious")
    (root / "data/images/link").symlink_to(root.parent)
    (listing,) = root.glob(".dvc/cache/files/md5/*/*.dir")
    listed_as(root, json.dumps([*json.loads(listing.read_text()), entry(relpath)]).encode())
    with pytest.raises(UserError, match="which is not in it"):
        echo(IMAGES)
    assert victim.read_text() == "precious"


def entry(relpath: object = "a", md5: object = "0" * 32) -> dict[str, object]:
    return {"md5": md5, "relpath": relpath}


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"5", b"null", b"[" * 100_000, b"[" + b"9" * 5000 + b"]", b'["\xff"]', b'["a"]']
    + [b'[{"relpath": "a"}]', b'[{"md5": "a"}]', json.dumps(entry()).encode()]
    + [json.dumps([entry(relpath)]).encode() for relpath in (5, None, ["a"], "", "a\0b", "a\ud800b")]
    + [json.dumps([entry(md5=md5)]).encode() for md5 in (5, None, ["a"], "", "../../victim", "0" * 33)],
)
def test_a_list_of_files_that_dvc_did_not_write(root: Path, content: bytes) -> None:
    listed_as(root, content)
    before = contents(root)
    with pytest.raises(UserError, match=r"is none that DVC wrote|which is no MD5"):
        echo(IMAGES)
    assert contents(root) == before


def test_a_pipe_in_place_of_a_file_is_no_file(root: Path) -> None:
    (root / A).unlink()
    os.mkfifo(root / A)
    echo(A)
    assert not (root / A).exists()


def test_a_folder_in_place_of_a_file_is_left(root: Path) -> None:
    (root / A).unlink()
    (root / A).mkdir()
    with pytest.raises(UserError, match="is a folder, where a file should be"):
        echo(A)


@pytest.mark.parametrize("name", ["dvc.yaml", "dvc.lock", "params.yaml"])
def test_files_that_dvc_did_not_write(root: Path, name: str) -> None:
    (root / name).write_text("a: " + "[" * 3000 + "]" * 3000)
    with pytest.raises(UserError, match="cannot be repaired here"):
        repair(root / "data/images", lambda: True)


@pytest.mark.parametrize(
    "config",
    [
        *(b"\xff\xfe[core", b"[core\n", b"[[[a]]]\n", b"a = 1\n"),
        *(b"[cache]\ndir = %(x)s\n", b"[cache]\nlocal = nobody\n", b"[cache]\ntype = x\n"),
        *(b"[core]\nremote = %(remote)s\n", b"[core]\nsite_cache_dir = a\0b\n"),
    ],
)
def test_a_configuration_that_dvc_did_not_write(root: Path, config: bytes) -> None:
    (root / ".dvc/config").write_bytes(config)
    (root / A).write_text("damaged")
    before = contents(root)
    with pytest.raises(UserError, match="cannot be repaired here"):
        repair(root / A, lambda: True)
    assert contents(root) == before


def test_an_ignore_file_that_is_no_text(root: Path) -> None:
    (root / ".dvcignore").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot be repaired here"):
        repair(root / "data/images", lambda: True)
