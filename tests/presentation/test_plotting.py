"""Nothing in the current folder says how figures are drawn, and matplotlib is imported in one way."""

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support import REPOSITORY

pytestmark = pytest.mark.slow

SOURCES = [
    path
    for path in sorted([*(REPOSITORY / "pipeline").rglob("*.py"), *(REPOSITORY / "stages").glob("*.py")])
    if path.name != "plotting.py"
]
STARTS_LATEX = "text.usetex: True\ntext.latex.preamble: \\input{/etc/hostname}\n"
BUILDS_FONT_CACHE = "Matplotlib is building the font cache; this may take a moment.\n"  # on slow machines
DRAW = """
import sys, os
before = os.getcwd()
from pipeline.presentation.themed_svg import drawing, inline_svg
assert os.getcwd() == before
with drawing() as (figure, axes):
    axes.plot([0, 1], [0, 1])
    axes.set_xlabel("x")
    sys.stdout.write(inline_svg(figure, "name", "title", "description"))
"""


def _write(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text, encoding="utf-8")


IN_THE_FOLDER: dict[str, Callable[[Path], object]] = {
    "LaTeX": _write(STARTS_LATEX),
    "other sizes": _write("font.size: 30\nsvg.fonttype: path\n"),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "pipe": os.mkfifo,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
    "address": lambda path: path.symlink_to("https://clinfonce.invalid/matplotlibrc"),
}


def _drawn(folder: Path, code: str = DRAW, **variables: str) -> str:
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    for name in ("latex", "dvipng", "pdflatex"):
        (programs / name).write_text(f'#!/bin/sh\ntouch "{folder}/STARTED"\nexit 1\n')
        (programs / name).chmod(0o755)
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=folder,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr in ("", BUILDS_FONT_CACHE)
    assert not (folder / "STARTED").exists()
    return done.stdout


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _drawn(tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("name", IN_THE_FOLDER)
def test_settings_in_the_current_folder_change_nothing(tmp_path: Path, plain: str, name: str) -> None:
    IN_THE_FOLDER[name](tmp_path / "matplotlibrc")
    assert _drawn(tmp_path) == plain


def test_settings_that_a_variable_names_change_nothing(tmp_path: Path, plain: str) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/matplotlibrc").write_text(STARTS_LATEX)
    assert _drawn(tmp_path, MATPLOTLIBRC="own", MPLCONFIGDIR="own") == plain
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own", "programs"]


@pytest.mark.parametrize(
    "variables",
    [
        {"MPLBACKEND": "nope"},
        {"MPLBACKEND": "module://nope"},
        *({"SOURCE_DATE_EPOCH": value} for value in ("abc", "9" * 18, "-1", "0", "")),
    ],
    ids=str,
)
def test_variables_of_matplotlib_change_nothing(
    tmp_path: Path, plain: str, variables: dict[str, str]
) -> None:
    assert _drawn(tmp_path, **variables) == plain


def test_a_matplotlib_that_was_imported_before_draws_the_same(tmp_path: Path, plain: str) -> None:
    """As the trackers of a training may."""
    before = "import matplotlib\nmatplotlib.rcParams['text.usetex'] = True\n"
    after = "\nassert matplotlib.rcParams['text.usetex']"
    assert _drawn(tmp_path, before + DRAW + after) == plain


def imported(source: str) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.append(node.value)
    return [name for name in names if name.partition(".")[0] == "matplotlib"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_matplotlib_is_imported_in_one_way(path: Path) -> None:
    assert imported(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import matplotlib",
        "import os, matplotlib.pyplot as plt",
        "from matplotlib.axes import Axes",
        "def later():\n    from matplotlib import pyplot",
        "importlib.import_module('matplotlib.figure')",
    ],
)
def test_other_ways_are_found(line: str) -> None:
    assert len(imported(line)) == 1
