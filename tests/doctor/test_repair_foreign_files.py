"""`clinfonce repair` of a project whose dvc.lock, cache or configuration DVC did not write."""

import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from doctor.recorded_project import IMAGES, A, contents, run_repair
from pipeline.doctor import file_list as module
from pipeline.doctor.repair import repair
from pipeline.runtime.errors import UserError

pytestmark = pytest.mark.slow


def test_a_list_of_files_has_an_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LIST_BYTES", 10)
    with pytest.raises(UserError, match="is larger than 0 MiB: no list of DVC's is"):
        run_repair(IMAGES)


def test_a_list_of_files_that_is_a_device_is_damaged(root: Path) -> None:
    (listing,) = root.glob(".dvc/cache/files/md5/*/*.dir")
    listing.unlink()
    listing.symlink_to("/dev/zero")
    run_repair(IMAGES)
    assert not os.path.lexists(listing)


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
        run_repair(A)
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
            run_repair(A, recorded=recorded)
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
        run_repair(IMAGES)
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
        run_repair(IMAGES)
    assert contents(root) == before


def test_a_pipe_in_place_of_a_file_is_no_file(root: Path) -> None:
    (root / A).unlink()
    os.mkfifo(root / A)
    run_repair(A)
    assert not (root / A).exists()


def test_a_folder_in_place_of_a_file_is_left(root: Path) -> None:
    (root / A).unlink()
    (root / A).mkdir()
    with pytest.raises(UserError, match="is a folder, where a file should be"):
        run_repair(A)


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
