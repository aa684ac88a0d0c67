"""Variables that are set and that nobody reads."""

import re

import pytest

from doctor.small_project import one
from pipeline.doctor import environment
from pipeline.doctor.base import Situation
from support import REPOSITORY

NOBODY = Situation(None)


def test_every_variable_of_the_sources_is_known() -> None:
    sources = [*(REPOSITORY / "pipeline").rglob("*.py"), REPOSITORY / "tests" / "conftest.py"]
    named = {name for path in sources for name in re.findall(r'"(CLINFONCE_[A-Z_]+[A-Z])"', path.read_text())}
    assert set(environment.KNOWN) == named


def test_a_variable_that_nobody_reads_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINFONCE_DEVISE", "cpu")
    monkeypatch.setenv("CLINFONCE_DEVICE", "cpu")
    checks = environment.look(NOBODY)
    assert one(checks, "CLINFONCE_DEVICE").status == "ok"
    assert one(checks, "CLINFONCE_DEVISE").status == "warn"
    assert one(checks, "CLINFONCE_DEVISE").cure.startswith("did you mean CLINFONCE_DEVICE?")


@pytest.mark.parametrize("name", list(environment.READERS))
def test_a_value_that_a_stage_would_refuse_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "nonsense")
    found = one(environment.look(NOBODY), name)
    assert found.status == "fail"
    assert name in found.found
    assert "nonsense" in found.found


def test_no_variable_at_all() -> None:
    assert [check.status for check in environment.look(NOBODY)] == ["ok"]
