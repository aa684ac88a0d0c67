"""`--help` says what every command and option is for, fits a terminal of 80 columns, and comes at once."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli import app
from support import REPOSITORY

STAGES = ["ingest", "cluster", "untrained", "pretrain", "evaluate", "report"]


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The command and all below it, by what one types."""
    yield name, command
    for below, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {below}")


def of_the_stage(name: str) -> typer.Typer:
    stage: typer.Typer = importlib.import_module(f"stages.{name}").app
    return stage


def everything() -> Iterator[tuple[str, Any]]:
    yield from commands(typer.main.get_command(app), "clinfonce")
    for stage in STAGES:
        yield f"python stages/{stage}.py", typer.main.get_command(of_the_stage(stage))


def silent(name: str, command: Any) -> list[str]:
    """What of a command has no help."""
    options = [f"{name} {option.name}" for option in command.params if not getattr(option, "help", None)]
    return options if command.help else [name, *options]


def test_every_command_and_option_has_help() -> None:
    found = list(everything())
    assert {"clinfonce statistics", "clinfonce study run", "python stages/pretrain.py"} <= {
        n for n, _ in found
    }
    assert [missing for name, command in found for missing in silent(name, command)] == []


def test_a_command_without_help_is_seen() -> None:
    mute = typer.Typer()

    @mute.command()
    def speak(word: str, loud: bool = False) -> None: ...

    assert silent("speak", typer.main.get_command(mute)) == ["speak", "speak word", "speak loud"]


@pytest.mark.parametrize(
    "words", [name.split()[1:] for name, _ in commands(typer.main.get_command(app), "it")]
)
def test_help_fits_a_terminal_of_80_columns(words: list[str]) -> None:
    """Every word of the help is shown: rich would swallow what stands in square brackets as its markup."""
    shown = CliRunner(env={"COLUMNS": "80", "TERM": "dumb"}).invoke(app, [*words, "--help"])
    assert shown.exit_code == 0
    assert max(len(line) for line in shown.stdout.splitlines()) <= 80
    command: Any = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    output = " ".join(shown.stdout.replace("│", " ").split())
    for option in command.params:
        for word in str(getattr(option, "help", "")).split():
            assert word in output


def test_help_starts_without_torch() -> None:
    """In a process of its own: here other tests have loaded it."""
    code = (
        "import sys; from pipeline.cli import app; app(['--help'], standalone_mode=False); "
        "print({'torch', 'pandas', 'dvc', 'matplotlib'} & set(sys.modules))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines()[-1] == "set()"
    assert "statistics" in shown.stdout
