"""`clinfonce repair` removes no intact file, whatever DVC's cache has lost."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from doctor.recorded_project import IMAGES, ONE, A, cached_copy, contents, damage, dvc, run_repair
from pipeline.doctor.repair import repair

pytestmark = pytest.mark.slow

TWO = "data/images/sub/two.txt"
OUTPUTS = [(IMAGES, IMAGES), (ONE, IMAGES), (A, A)]
"""What is repaired, and the output that it belongs to."""


def own_files(root: Path) -> None:
    """Makes files of the outputs, as DVC's cache type `copy` has them, in place of links to the cache."""
    for path in (root / "data").rglob("*.txt"):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)


def cached_list(root: Path) -> Path:
    (listing,) = root.glob(".dvc/cache/files/md5/*/*.dir")
    return listing


def copies(root: Path) -> list[Path]:
    return [cached_copy(root, (root / path).read_bytes()) for path in (ONE, A)]


def lose_copies(root: Path) -> None:
    for copy in copies(root):
        copy.unlink()


def damage_copies(root: Path) -> None:
    for copy in copies(root):
        damage(copy)


def lose_list(root: Path) -> None:
    lose_copies(root)
    cached_list(root).unlink()


def damage_list(root: Path) -> None:
    damage_copies(root)
    damage(cached_list(root))


def lose_cache(root: Path) -> None:
    shutil.rmtree(root / ".dvc/cache")


CACHE_DAMAGES = [lose_copies, damage_copies, lose_list, damage_list, lose_cache]


@pytest.mark.parametrize("harm", CACHE_DAMAGES)
@pytest.mark.parametrize(("named", "output"), OUTPUTS)
def test_intact_files_stay_and_dvc_stores_them_again(
    root: Path, named: str, output: str, harm: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    own_files(root)
    before = contents(root)
    harm(root)
    run_repair(named)
    assert {path: content for path, content in contents(root).items() if path.startswith("data")} == {
        path: content for path, content in before.items() if path.startswith("data")
    }
    assert f"run `dvc commit {output}`" in capsys.readouterr().out
    (root / "make.py").write_text("raise SystemExit('the stage ran again')")
    dvc("commit", "-q", "--force", "make")
    assert contents(root) == before


def test_only_the_copy_is_announced(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own_files(root)
    copy = cached_copy(root, (root / A).read_bytes()).relative_to(root)
    damage(root / copy)
    run_repair(A, agree=False)
    printed = capsys.readouterr().out
    assert f"the copy of {A} in DVC's cache, {copy}: the file itself is intact and stays" in printed
    assert (root / copy).read_text() == "damaged"


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_file_that_is_a_link_to_its_damaged_copy_goes_with_it(
    root: Path, link: Callable[[Path, Path], None]
) -> None:
    before = contents(root)
    copy = cached_copy(root, before[A])
    (root / A).unlink()
    link(copy, root / A)
    damage(copy)
    run_repair(A)
    assert before.keys() - contents(root).keys() == {A, str(copy.relative_to(root))}
    dvc("repro", "-q", "make")
    assert contents(root) == before


def test_what_is_lost_in_both_places_is_computed_again(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(root)
    copy = cached_copy(root, before[ONE])
    copy.unlink()
    (root / ONE).unlink()
    run_repair(IMAGES)
    assert "nothing was removed: run `dvc repro`, which makes again" in capsys.readouterr().out
    dvc("repro", "-q", "make")
    assert contents(root) == before


def test_one_file_comes_from_the_cache_and_goes_into_it_the_other(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_files(root)
    before = contents(root)
    cached_copy(root, before[ONE]).unlink()
    damage(root / TWO)
    run_repair(IMAGES)
    assert contents(root)[ONE] == before[ONE]
    assert f"run `dvc checkout {IMAGES}` and then `dvc commit {IMAGES}`" in capsys.readouterr().out
    dvc("checkout", "-q", IMAGES)
    dvc("commit", "-q", IMAGES)
    assert contents(root) == before


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), damage])
@pytest.mark.parametrize("stray", [False, True])
def test_files_that_cannot_be_compared_stay(
    root: Path, harm: Callable[[Path], None], stray: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The list of the files is lost, and what lies there does not add up to it."""
    own_files(root)
    recorded = contents(root)
    (root / IMAGES / "mine.txt" if stray else root / TWO).write_text("something else")
    before = contents(root)
    listing = cached_list(root)
    harm(listing)
    run_repair(IMAGES)
    assert contents(root) == {
        path: content for path, content in before.items() if path != str(listing.relative_to(root))
    }
    assert "has no intact list of data/images" in capsys.readouterr().out
    if not stray:
        dvc("repro", "-q", "make")
        run_repair(IMAGES)
        assert contents(root) == recorded


def test_they_go_on_demand(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own_files(root)
    before = contents(root)
    listing = cached_list(root)
    damage(listing)
    damage(root / TWO)
    run_repair(IMAGES, recorded=True)
    assert before.keys() - contents(root).keys() == {ONE, TWO, str(listing.relative_to(root))}
    assert f"{ONE}: `dvc repro` restores it if the stage wrote it" in capsys.readouterr().out
    dvc("repro", "-q", "make")
    assert contents(root) == before


def test_a_copy_that_is_damaged_and_becomes_intact_while_it_asks_stays(root: Path) -> None:
    own_files(root)
    before = contents(root)
    copy = cached_copy(root, before[A])
    damage(copy)

    def agreed() -> bool:
        copy.write_bytes(before[A])
        return True

    repair(Path(A), agreed)
    assert contents(root) == before
