"""A file system that fills up under any stage: a sentence, nothing half-written, and on it goes after.

`CLINFONCE_FAULTS=20` fills it in twenty ways for each stage; without it there is one.
"""

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import STAGES
from stage_runs import MADE, STATE, Workshop, strength

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SIZE, ENOUGH = "50m", "2g"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 50 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def fill(disk: Path, free: int) -> Path:
    """Leaves `free` bytes, as far as pages of 4 kB can."""
    filler = disk / "filler"
    room = os.statvfs(disk)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(room.f_bavail * room.f_frsize - free, 1))
    return filler


def places_of(disk: Path, stage: str) -> list[Path]:
    return [disk / name for name in (["data"] if stage == "ingest" else MADE[stage])]


def move_onto(disk: Path, workshop: Workshop, stage: str) -> None:
    """What the stage makes lies there from now on, and so does its unfinished work."""
    workshop.take_away(stage)
    data = workshop.root / "data"
    if stage == "ingest":
        # It replaces `data/images` as a whole.
        shutil.rmtree(data)
    for place in places_of(disk, stage):
        place.mkdir()
        (data if stage == "ingest" else data / place.name).symlink_to(place)
    shutil.move(workshop.root / STATE, disk / STATE)
    (workshop.root / STATE).symlink_to(disk / STATE)


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_is_told_and_nothing_half_written_is_left(
    undisturbed: Workshop, workshop: Workshop, small_disk: Path, stage: str
) -> None:
    expected = undisturbed.outputs(stage)
    size = sum(map(len, expected.values()))
    move_onto(small_disk, workshop, stage)
    lot = random.Random(f"full {stage}")  # noqa: S311 - not for secrets
    for _ in range(strength()):
        resize(small_disk, SIZE)
        filler = fill(small_disk, int(lot.random() * 0.9 * min(size, 45e6)))
        assert workshop.run(stage) == 2, workshop.said
        last = workshop.said.splitlines()[-1]
        assert last.startswith("error: the machine refuses")
        assert "(No space left on device): make room on that disk" in last
        assert "Traceback" not in workshop.said
        # Each file that is there is whole.
        assert workshop.outputs(stage).items() <= expected.items()
        assert not half_written(small_disk)
        filler.unlink()
        resize(small_disk, ENOUGH)
        assert workshop.run(stage) == 0, workshop.said
        assert workshop.outputs(stage) == expected
        assert not workshop.left_over()
        assert not half_written(small_disk)
        for path in places_of(small_disk, stage):
            shutil.rmtree(path)
            path.mkdir()


def test_a_read_only_disk_is_reported(workshop: Workshop, small_disk: Path) -> None:
    move_onto(small_disk, workshop, "cluster")
    resize(small_disk, f"{SIZE},ro")
    assert workshop.run("cluster") == 2, workshop.said
    assert "(Read-only file system): make that disk writable" in workshop.said
    assert "Traceback" not in workshop.said


def half_written(disk: Path) -> list[Path]:
    """But for what marks where the preparing of a part resumes: `pipeline.ingest.chunks`."""
    return [path for path in disk.rglob("*.tmp") if ".from-" not in path.name]
