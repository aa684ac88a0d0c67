"""`clinfonce repair` removes damage and nothing else, and nothing without a yes."""

import json
import os
import shutil
from pathlib import Path

import pytest

from doctor.recorded_project import IMAGES, ONE, A, cached_copy, contents, damage, dvc, run_repair
from pipeline.doctor.file_list import _entries
from pipeline.runtime.errors import UserError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("path", [IMAGES, ONE, "data/images/sub", A])
def test_what_is_whole_stays(root: Path, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(root)
    run_repair(path)
    assert contents(root) == before
    assert "nothing was removed" in capsys.readouterr().out


def test_a_name_that_is_neither_there_nor_recorded(root: Path) -> None:
    before = contents(root)
    with pytest.raises(
        UserError, match=r"absent\.txt is neither there nor among the files that DVC recorded of"
    ):
        run_repair("data/images/absent.txt")
    assert contents(root) == before


def test_a_list_of_brackets_is_not_parsed(root: Path) -> None:
    """As Python's objects, its 48 MB would take two gigabytes."""
    content = b"[" + b'{"":0},' * 6_000_000 + b"0]"
    with pytest.raises(UserError, match="the list of x in DVC's cache is none that DVC wrote: remove"):
        list(_entries(content, Path("cached.dir"), "the list of x"))
    names = ["a", "[a].txt", "{[1] (2)}.jpg"]
    recorded = json.dumps([{"md5": "0" * 32, "relpath": name} for name in names]).encode()
    assert [name for name, _ in _entries(recorded, Path("cached.dir"), "it")] == names


@pytest.mark.parametrize(
    "path", ["/", ".", "..", "data", "data/clusters", "data/../data", "stages", "make.py", "/etc"]
)
def test_what_is_no_output_or_more_than_one_is_refused(root: Path, path: str) -> None:
    damage(root / ONE)
    before = contents(root)
    with pytest.raises(UserError, match=r"more than one output of a stage: name one|is no output of a stage"):
        run_repair(path)
    assert contents(root) == before


def test_a_folder_of_outputs_names_them(root: Path) -> None:
    with pytest.raises(UserError, match=r"data/clusters/a\.txt, data/clusters/b\.txt"):
        run_repair("data/clusters")


@pytest.mark.parametrize(
    "named", [ONE, IMAGES, "data/images/sub/../one.txt", "data/../data/images", "{root}/data/images"]
)
def test_a_damaged_file_goes_and_the_cache_keeps_its_whole_copy(root: Path, named: str) -> None:
    before = contents(root)
    damage(root / ONE)
    run_repair(named.format(root=root))
    assert contents(root) == {path: content for path, content in before.items() if path != ONE}
    dvc("repro", "-q", "make")
    assert contents(root) == before


def test_a_damaged_copy_in_the_cache_goes_too(root: Path) -> None:
    before = contents(root)
    cached = cached_copy(root, before[A])
    damage(root / A)
    damage(cached)
    run_repair(A)
    assert contents(root).keys() == before.keys() - {A, str(cached.relative_to(root))}
    dvc("repro", "-q", "make")
    assert contents(root) == before


def test_a_file_that_does_not_belong_to_an_output_goes(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(root)
    (root / "data/images/mine").mkdir()
    (root / "data/images/mine/thesis.txt").write_text("years of work")
    run_repair(IMAGES)
    assert contents(root) == before
    line = "data/images/mine/thesis.txt: DVC has no record of it, so nothing brings it back"
    assert line in capsys.readouterr().out


@pytest.mark.parametrize("depth", [120, 1200])
def test_folders_may_be_deep(root: Path, depth: int) -> None:
    folder = root / IMAGES
    for _ in range(depth):
        folder /= "d"
        folder.mkdir()
    (folder / "stray.txt").write_text("down here")
    damage(root / ONE)
    try:
        run_repair(IMAGES)
        assert not (folder / "stray.txt").exists()
        assert not (root / ONE).exists()
    finally:
        # pytest cleans up by shutil.rmtree, which calls itself for each level.
        (folder / "stray.txt").unlink(missing_ok=True)
        os.removedirs(folder)


def test_nothing_goes_without_a_yes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(root / ONE)
    before = contents(root)
    run_repair(ONE, agree=False)
    assert contents(root) == before
    assert "data/images/one.txt: `dvc repro` brings it back" in capsys.readouterr().out


def test_what_was_damaged_before_it_was_recorded_goes_on_demand(root: Path) -> None:
    before = contents(root)
    run_repair(A, recorded=True)
    cached = next(path for path in before if path.startswith(".dvc") and before[path] == before[A])
    assert before.keys() - contents(root).keys() == {A, cached}
    dvc("repro", "-q", "make")
    assert contents(root) == before


def test_links_are_followed_to_the_output_that_they_name(root: Path) -> None:
    (root / "shortcut").symlink_to("data/images")
    (root / "one").symlink_to(ONE)
    for named in ("shortcut", "shortcut/one.txt", "one"):
        damage(root / ONE)
        run_repair(named)
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
        run_repair(IMAGES)
    assert contents(root) == before


def test_it_works_from_a_folder_inside(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(root / ONE)
    monkeypatch.chdir(root / "data/clusters")
    run_repair("../images/one.txt")
    assert not (root / ONE).exists()


def test_another_clone_on_the_same_cache_keeps_its_objects(root: Path, tmp_path: Path) -> None:
    before = contents(root)
    damage(root / ONE)
    damage(root / A)
    run_repair(IMAGES)
    run_repair(A)
    cache = {path: content for path, content in before.items() if path.startswith(".dvc")}
    assert {path: content for path, content in contents(root).items() if path.startswith(".dvc")} == cache


@pytest.mark.parametrize(
    ("path", "sentence"),
    [("data/metrics.json", "is kept by Git and not by DVC"), ("data/later", "has not been made yet")],
)
def test_outputs_without_a_copy_in_the_cache_are_named(root: Path, path: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        run_repair(path)


def test_outside_of_a_project_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"run it where dvc.yaml lies"):
        run_repair("data")
