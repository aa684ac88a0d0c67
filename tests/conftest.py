"""What several tests share: small real data sets, made anew in temporary folders."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
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
from support import REPOSITORY, at_once, build_once, forbid_network, params_with, write_manifest

if TYPE_CHECKING:
    from pipeline.storage.schema import Layout
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
    """Writes a manifest, as `write_manifest` does, in `source`."""
    return partial(write_manifest, tmp_path / "source")


@pytest.fixture
def clustered(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., "Layout"]:
    """Returns a copy of `count` images of 12 pixels, ingested and clustered once for all tests; what training
    saves is kept beside it."""
    monkeypatch.setenv("CLINFONCE_STATE_DIR", str(tmp_path / "state"))

    def copy(count: int, **section: Any) -> "Layout":
        # Imported here, since not every test needs them.
        from pipeline.clustering.run import cluster
        from pipeline.ingest.run import ingest
        from pipeline.storage.schema import Layout

        def make(folder: Path) -> None:
            source = {"source": "manifest", "path": str(write_manifest(folder / "source", count))}
            params = params_with(ingest=source, cluster=section)
            ingest(params.ingest, 0, Layout(folder / "data"))
            cluster(params.cluster, "chosen", 16, 0, Layout(folder / "data"))

        key = sha256(json.dumps([count, section]).encode()).hexdigest()[:16]
        made = build_once(tmp_path_factory, f"clustered-{key}", "data/clusters/chosen/statistics.json", make)
        shutil.copytree(made / "data", tmp_path / "data")
        return Layout(tmp_path / "data")

    return copy


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
