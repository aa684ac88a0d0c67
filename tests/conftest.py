"""What several tests share: small real data sets, made anew in temporary folders."""

import csv
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

# Before torch is loaded, and for all processes that tests start: three workers with two threads each would
# wait for each other most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The end of every epoch is saved, however short it was, so that what is killed has a state to go on from.
os.environ["CLINFONCE_SAVING_SHARE"] = "1e9"

from project import Project, make_finished
from support import REPOSITORY, at_once, build_once, forbid_network, png

if TYPE_CHECKING:
    from stage_runs import Workshop

# A machine may be busy: how long one example takes says nothing.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

FIRST = ("docs", "training", "executors", "doctor", "experiments", "end_to_end")
"""The longest, since a file goes to one worker, which would be alone with it at the end. Those in `docs` make
the finished project, for which those of `end_to_end` would wait."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.relative_to(tests).parts[0], len(FIRST)))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """No command and no stage reaches another machine, but for what is meant to download."""
    tried = forbid_network(monkeypatch.setattr)
    yield tried
    assert not tried, "something wanted to reach another machine"


@pytest.fixture
def without_waiting() -> Iterator[None]:
    """An opening that waits, as that of a pipe does, fails the test."""
    with at_once():
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images beside the checkout; the tests that need them skip without."""
    named = os.environ.get("CLINFONCE_SHARED_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared data set is not beside the checkout (set CLINFONCE_SHARED_DATA)")
    return folder


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., Path]:
    """Writes a manifest of `count` images with two labels, two attribute columns and hashtags."""

    def write(count: int = 24, name: str = "manifest.csv", **columns: list[Any]) -> Path:
        folder = tmp_path / "source"
        (folder / "images").mkdir(parents=True, exist_ok=True)
        rows = []
        for number in range(count):
            path = f"images/{number:03d}.png"
            (folder / path).write_bytes(png(number))
            row = {
                "image": path,
                "label": ["cat", "dog"][number % 2],
                "split": "test" if number % 4 == 3 else "train",
                "colour": ["red", "blue", "green"][number % 3],
                "size": ["small", "large"][number // 2 % 2],
                "hashtags": f"#Pet;tag{number % 5}",
            }
            row |= {column: values[number] for column, values in columns.items()}
            rows.append(row)
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return folder / name

    return write


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Read it, or copy it with `project`."""

    def make(folder: Path) -> None:
        folder.mkdir()
        make_finished(folder / "project")

    return Project(build_once(tmp_path_factory, "finished", "output.txt", make) / "project")


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project that a test may change."""
    shutil.copytree(finished.root, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> "Workshop":
    """A project smaller still, without DVC, in which every stage has run."""
    # Imported here: it loads torch, which not every test needs.
    from stage_runs import Workshop

    return Workshop(build_once(tmp_path_factory, "undisturbed", "seconds.json", Workshop.create))


@pytest.fixture
def workshop(undisturbed: "Workshop", tmp_path: Path) -> "Workshop":
    """A copy that a test may disturb."""
    return undisturbed.copy(tmp_path / "workshop")
