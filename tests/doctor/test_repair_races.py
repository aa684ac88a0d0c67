"""What changes while `clinfonce repair` waits for an answer is neither removed nor followed."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from doctor.recorded_project import IMAGES, ONE, A, cached_copy, contents, damage, dvc
from pipeline.doctor.repair import repair

pytestmark = pytest.mark.slow


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
