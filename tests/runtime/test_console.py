"""What is printed cannot steer the terminal, whatever it holds and wherever it comes from."""

import ast
import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.runtime.console import echo, json_text, terminal
from support import REPOSITORY

pytestmark = pytest.mark.slow

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.\u2066x\u200f\x7f[red]not red[/red]"
SOURCES = sorted(path for folder in ("pipeline", "stages") for path in (REPOSITORY / folder).rglob("*.py"))
PRINTS = {"print", "input", "Console", "typer.echo", "typer.secho", "warnings.warn", "traceback.print_exc"}
OWN_PROTOCOL = {"pipeline/untrusted/isolation/parquet_reader.py"}
"""Whose standard output is a stream of Arrow batches, to the process that started it."""


def outputs(path: Path) -> Iterator[str]:
    """What in a module writes to the terminal, or could."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in PRINTS:
            yield ast.unparse(node.func)
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr"):
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and node.module in ("rich", "rich.console"):
            yield from (f"rich's {alias.name}" for alias in node.names if alias.name in ("print", "Console"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_nothing_else_prints(path: Path) -> None:
    module = str(path.relative_to(REPOSITORY))
    if module == "pipeline/runtime/console.py":
        assert {"print", "sys.stdout", "rich's Console"} <= set(outputs(path)), "the test sees nothing"
    elif module not in OWN_PROTOCOL:
        assert not list(outputs(path)), f"{module} prints by itself: use pipeline.runtime.console"


def is_harmless(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


@given(st.text(max_size=30))
def test_tables_and_lines_are_harmless(text: str) -> None:
    file = io.StringIO()
    console = terminal(file=file, width=60)
    table = Table(title=Text(text), caption=Text(text))
    table.add_column(Text(text))
    table.add_row(Text(text))
    console.echo(text)
    console.print(text, markup=False)
    console.print(table)
    assert is_harmless(file.getvalue())


def test_a_bar_s_own_codes_pass_and_its_title_s_do_not() -> None:
    file = io.StringIO()
    console = terminal(file=file, width=80)
    console._force_terminal = True
    with Progress(console=console) as progress:
        progress.add_task(HOSTILE.replace("[", "("), total=1)
    assert "\x1b[" in file.getvalue(), "the bar draws itself"
    for hostile in ("\x1b]0;", "\x07", "\x9b", "\u202e", "\u2066", "\x7f"):
        assert hostile not in file.getvalue()


def test_a_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    echo(f"a\nb{HOSTILE}", stderr=True)
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "text", ["a\nerror: b", "a\r\nerror: b", "a\u2028error: b", "a\x85error: b", "\nerror: b"]
)
def test_a_string_is_one_line_of_a_console(text: str) -> None:
    file = io.StringIO()
    console = terminal(file=file, width=60)
    console.print(text, markup=False)
    console.echo(text)
    lines = file.getvalue().splitlines()
    assert len(lines) == 2
    assert not any(line.startswith("error:") for line in lines)


@pytest.mark.parametrize("form", [[], ["--csv"]], ids=["table", "csv"])
def test_no_name_of_a_table_starts_a_line(tmp_path: Path, form: list[str]) -> None:
    rows = [f"{'ab'[n % 2] if n % 7 else ''},{'uvw'[n % 3]},{n % 5}\n" for n in range(40)]
    path = tmp_path / "table.csv"
    path.write_text("".join(['label,"tag\nerror: run curl\nx",k\n', *rows]), encoding="utf-8")
    ended = run("statistics", str(path), "--label", "label", *form)
    assert ended.returncode == 0, ended.stderr
    printed = ended.stdout.decode().splitlines()
    assert any("\\x0aerror: run" in line for line in printed)
    assert not any(line.startswith("error:") for line in printed)


def test_json_is_read_back() -> None:
    assert json.loads(json_text([HOSTILE, "é"])) == [HOSTILE, "é"]
    assert is_harmless(json_text([HOSTILE]))
    assert "é" in json_text(["é"])


COMMAND = [sys.executable, "-c", "from pipeline.cli import main_command; main_command()"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [HOSTILE],
        ["statistics", HOSTILE],
        ["statistics", "x.csv", f"--{HOSTILE}"],
        ["statistics", "x.csv", "--label", "a", "--batch-size", HOSTILE],
        ["statistics", HOSTILE, "--label", HOSTILE],
    ],
    ids=["command", "missing option", "option", "value", "file"],
)
def test_mistakes_in_the_command_line_are_one_harmless_line(arguments: list[str]) -> None:
    ended = run(*arguments)
    said = ended.stderr.decode()
    assert ended.returncode == 2
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert is_harmless(said)


@pytest.mark.parametrize(
    "arguments",
    [
        *(["statistics", "t.csv", "--label", "a", f"--batch-size={value}"] for value in (1, 2**21, "9" * 30)),
        *(["statistics", "t.csv", "--label", "a", f"--seed={value}"] for value in (-1, 2**63)),
        *(["doctor", f"--seconds={value}"] for value in ("nan", "inf", "1e300", "-1")),
        *(["doctor", f"--minutes={value}"] for value in ("nan", "inf", "1e300", "0")),
        *(["doctor", f"--images={value}"] for value in (1, 10**30)),
        *(["embed", ".", "-o", "v.parquet", f"--batch-size={value}"] for value in (0, 2**21)),
        *(["search", "a.png", f"--count={value}"] for value in (0, 10**30)),
    ],
    ids=" ".join,
)
def test_numbers_of_options_have_bounds(arguments: list[str]) -> None:
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == 2
    assert "Invalid value" in ended.output


def table_in(folder: Path, name: str = "table.csv") -> Path:
    rows = [(HOSTILE, "label"), *((f"{HOSTILE}{number % 3}", f"ünï{number % 2}") for number in range(40))]
    path = folder / name
    path.write_text("".join(f'"{a}","{b}"\n' for a, b in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]], ids=["table", "json", "csv"])
def test_statistics_of_hostile_columns_are_harmless(tmp_path: Path, form: list[str]) -> None:
    ended = run("statistics", str(table_in(tmp_path)), "--label", "label", *form)
    assert ended.returncode == 0, ended.stderr
    assert is_harmless(ended.stdout.decode())
    assert "owned" in ended.stdout.decode()


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_what_the_encoding_lacks_is_an_escape(tmp_path: Path, variables: dict[str, str]) -> None:
    path = table_in(tmp_path)
    shown = run("statistics", str(path), "--label", "label", **variables)
    assert shown.returncode == 0, shown.stderr
    refused = run("statistics", str(path), "--label", "läbel", **variables)
    assert refused.returncode == 2
    assert refused.stderr.startswith(b"error: ")
    assert b"Traceback" not in refused.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of addresses is Linux's")
@pytest.mark.parametrize("arguments", [["embed", ".", "-o", "v.parquet"], ["search", "a.png"], ["export"]])
def test_memory_that_does_not_hold_torch_is_told_in_a_sentence(arguments: list[str]) -> None:
    limited = ["sh", "-c", 'ulimit -v 1500000; exec "$@"', "sh", *COMMAND, *arguments]
    ended = subprocess.run(limited, cwd=REPOSITORY, capture_output=True, check=False)
    assert (ended.returncode, ended.stderr.count(b"\n")) == (2, 1), ended.stderr
    assert ended.stderr.startswith(b"error: the memory is not enough (lib")


def test_where_nobody_reads_any_more_it_ends_in_silence(tmp_path: Path) -> None:
    command = [*COMMAND, "statistics", str(table_in(tmp_path)), "--label", "label", "--json"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (errno.EPIPE, 1, ""),
        (errno.ESHUTDOWN, 2, "error: the machine refuses (Cannot send after transport endpoint shutdown)"),
    ],
)
def test_a_file_system_that_shuts_down_is_no_closed_pipe(number: int, code: int, said: str) -> None:
    """Python has one exception for both."""
    script = f"""
import typer
from pipeline.runtime.console import run
app = typer.Typer()
@app.command()
def main() -> None:
    raise OSError({number}, "x")
run(app)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (code, bool(said)), ended.stderr
    assert ended.stderr.startswith(said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["embed", "--help"], ["statistics"]], ids=str
)
def test_a_full_disk_behind_standard_output_is_one_sentence(arguments: list[str], tmp_path: Path) -> None:
    if arguments == ["statistics"]:
        arguments = ["statistics", str(table_in(tmp_path)), "--label", "label", "--json"]
    with open("/dev/full", "w", encoding="utf-8") as full:
        ended = subprocess.run(
            [*COMMAND, *arguments], cwd=REPOSITORY, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert ended.returncode == 2
    (line,) = ended.stderr.decode().splitlines()
    assert line.startswith("error: the machine refuses")
    assert "(No space left on device): make room" in line


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(closed: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("label,colour\na,red\nb,blue\na,red\n")
    code = "from pipeline.cli import main_command; main_command()"
    command = f"exec {sys.executable} -c '{code}' statistics {tmp_path}/t.csv --label label {closed}"
    ended = subprocess.run(["sh", "-c", command], cwd=REPOSITORY, capture_output=True, check=False)
    assert ended.returncode == 0
    assert b"Traceback" not in ended.stderr
    assert (b"colour" in ended.stdout) == (">&-" not in closed.split())


def test_an_unexpected_error_keeps_its_traceback_and_steers_nothing() -> None:
    code = (
        "import typer; from pipeline.runtime.console import run\napp = typer.Typer()\n"
        f"@app.command()\ndef fail() -> None: raise KeyError({HOSTILE!r})\n"
        "run(app)"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, check=False)
    said = ended.stderr.decode()
    assert ended.returncode == 1
    assert said.startswith("Traceback")
    assert "KeyError" in said
    assert is_harmless(said)


def test_no_name_becomes_a_picture(capsys: pytest.CaptureFixture[str]) -> None:
    terminal().echo("a:skull:b")
    table = Table("a:skull:b")
    table.add_row("x:smile:")
    terminal().print(table)
    printed = capsys.readouterr().out
    assert printed.count("a:skull:b") == 2
    assert "x:smile:" in printed
