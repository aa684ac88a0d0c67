"""A small project in which every stage has run."""

from pathlib import Path

import pytest

from stage_runs import Workshop
from support import made_once


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(made_once(tmp_path_factory, "undisturbed", "seconds.json", Workshop.made))


@pytest.fixture
def workshop(undisturbed: Workshop, tmp_path: Path) -> Workshop:
    """A copy that a test may disturb."""
    return undisturbed.copy(tmp_path / "workshop")
