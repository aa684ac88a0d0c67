"""A small project in which every stage has run."""

from pathlib import Path

import pytest

from stage_runs import Workshop


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop.made(tmp_path_factory.mktemp("undisturbed") / "workshop")


@pytest.fixture
def workshop(undisturbed: Workshop, tmp_path: Path) -> Workshop:
    """A copy that a test may disturb."""
    return undisturbed.copy(tmp_path / "workshop")
