"""A small project in which every stage has run."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from stage_runs import Workshop


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Made by the first worker that asks; the others wait."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "undisturbed"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "workshop/seconds.json").exists():
            shutil.rmtree(folder / "workshop", ignore_errors=True)
            Workshop.made(folder / "workshop")
    return Workshop(folder / "workshop")


@pytest.fixture
def workshop(undisturbed: Workshop, tmp_path: Path) -> Workshop:
    """A copy that a test may disturb."""
    return undisturbed.copy(tmp_path / "workshop")
