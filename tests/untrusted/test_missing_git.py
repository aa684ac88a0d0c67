"""Git may be missing: every reader of the repository says so in a sentence, or does without."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.report.provenance import commit
from pipeline.runtime.errors import UserError, system_error_message
from pipeline.untrusted.git import run_git
from support import REPOSITORY


@pytest.fixture
def without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def test_what_git_prints_and_how_it_ends(tmp_path: Path) -> None:
    assert run_git("--version").stdout.startswith("git version")
    assert run_git("rev-parse", "HEAD", folder=tmp_path).returncode != 0


@pytest.mark.usefixtures("without_git")
@pytest.mark.parametrize(
    "arguments", [["compare"], ["compare", "main"], ["study", "report", "studies/unsupervised.yaml"]]
)
def test_commands_that_need_git_say_so(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == 2
    assert re.fullmatch(r"error: git can't be started \(.*\): install Git, in which .*\n", ended.stderr)


@pytest.mark.usefixtures("without_git")
def test_the_report_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert commit() is None
    with pytest.raises(UserError, match="install Git"):
        run_git("status")


@pytest.mark.parametrize(
    "error", [KeyError("getpwuid(): uid not found: 12345"), OSError("No username set in the environment")]
)
def test_a_user_without_a_name_is_told_what_to_set(error: Exception) -> None:
    assert "give one by the variable USER" in str(system_error_message(error))
