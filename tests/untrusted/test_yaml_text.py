"""YAML that a merge of Git left with both versions of some lines."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config.params import load_params
from pipeline.experiments.study import read_study
from pipeline.runtime.errors import UserError
from pipeline.untrusted.yaml_text import parse_yaml, read_yaml

BASE = "seed: 0\npretrain:\n  epochs: 1\n  batch_size: 256\n"


def merged(folder: Path, *options: str) -> str:
    """The file in conflict, by Git itself."""
    for name, epochs in (("ours", 2), ("base", 1), ("theirs", 3)):
        (folder / name).write_text(BASE.replace("epochs: 1", f"epochs: {epochs}"))
    command = ["git", "merge-file", "-p", *options, "ours", "base", "theirs"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return done.stdout


@pytest.mark.parametrize("options", [[], ["--diff3"]])
@pytest.mark.parametrize("read", [load_params, read_study, read_yaml])
def test_a_conflict_is_named(tmp_path: Path, read: Callable[[Path], object], options: list[str]) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(merged(tmp_path, *options))
    first = path.read_text().splitlines().index("<<<<<<< ours") + 1
    with pytest.raises(UserError, match=rf"x.yaml holds Git's conflict markers \(line {first}\): resolve"):
        read(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("<<<<<<< HEAD\n=======\n>>>>>>> other\n", 1),  # valid YAML: text of three lines
        (BASE + ">>>>>>> other\n", 5),  # resolved by half
        (BASE.replace("  epochs", "<<<<<<<\n  epochs").replace("\n", "\r\n"), 3),
    ],
)
def test_every_marker_is_one(text: str, line: int) -> None:
    with pytest.raises(
        UserError, match=rf"^it holds Git's conflict markers \(line {line}\): resolve the merge$"
    ):
        parse_yaml(text.encode(), "it")


@pytest.mark.parametrize("text", ["<<<<<<< HEAD", "<<<<<<<<<<<", "=======\n>>>>>>>>"])
def test_text_of_a_value_may_hold_markers(text: str) -> None:
    block = "".join(f"  {line}\n" for line in text.split("\n"))
    assert parse_yaml(f"title: |\n{block}", "it") == {"title": text + "\n"}


@pytest.mark.parametrize("number", ["0x" + "F" * 5000, "-0x" + "F" * 5000, "0o" + "7" * 6000])
def test_numbers_that_python_cannot_write_are_refused(number: str) -> None:
    for text in (f"a: {number}", f"a: [{{b: {number}}}]"):
        with pytest.raises(UserError, match=r"^x.yaml holds a whole number of more than 1024 digits$"):
            parse_yaml(text, "x.yaml")
