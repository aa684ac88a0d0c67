"""The tasks of docs/contributing.md, done as the page says in a copy of the project."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from project import Project
from support import REPOSITORY

pytestmark = pytest.mark.slow

PAGE = REPOSITORY / "docs/contributing.md"
BLOCK = re.compile(
    r"^\*\*(?P<path>[\w./]+)\*\*(?P<new> \(new\))?\n\n```(?P<language>python|diff)\n(?P<body>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Change:
    """What the page says of one file."""

    path: str
    body: str
    is_new: bool

    def apply(self, root: Path) -> None:
        file = root / self.path
        assert file.exists() != self.is_new, self.path
        file.write_text(self.body if self.is_new else patched(file.read_text(), self.body))


def changes(page: str, title: str) -> list[Change]:
    """Of the task below the heading `title`."""
    _, section = page.split(f"\n## {title}\n")
    section, *_ = section.split("\n## ")
    return [Change(found["path"], found["body"], bool(found["new"])) for found in BLOCK.finditer(section)]


def patched(text: str, diff: str) -> str:
    """`text` with the hunks of `diff`, which `@@` separates, where their unchanged lines stand."""
    for hunk in re.split(r"^@@\n", diff, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        old, new = ("".join(line[1:] for line in lines if line[0] in signs) for signs in (" -", " +"))
        assert f"\n{text}".count(f"\n{old}") == 1, f"stands once in the file:\n{old}"
        text = f"\n{text}".replace(f"\n{old}", f"\n{new}")[1:]
    return text


def follow(title: str, project: Project) -> None:
    """Does the task in `project`, and runs its tests."""
    root = project.root
    for name in ("tools", "tests"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "docs").mkdir()
    for name in ("pyproject.toml", "docs/parameters.md"):
        shutil.copy(REPOSITORY / name, root / name)
    applied = changes(PAGE.read_text(), title)
    assert applied
    for change in applied:
        change.apply(root)
    files = [change.path for change in applied if change.path.endswith(".py")]
    project.run("ruff", "check", *files)
    project.run("ruff", "format", "--check", *files)
    project.run("python", "-m", "tools.regenerate")
    tests = [change for change in applied if change.path.startswith("tests/")]
    if names := re.findall(r"def (test_\w+)", "".join(change.body for change in tests)):
        selected = ["-k", " or ".join(names), *(change.path for change in tests)]
        project.run("pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *selected)


def test_a_clustering_is_added(project: Project, manifest: Callable[..., Path]) -> None:
    table = manifest(24, taken=[f"2024-05-01T{hour:02d}:30" for hour in range(24)])
    follow("A clustering", project)
    project.change_params(
        ingest={"source": "manifest", "path": str(table)},
        cluster={"method": "hour_of_day", "hour_of_day": {"column": "taken", "hours": 6}},
    )
    done = project.run("dvc", "repro", "cluster@chosen")
    assert "cluster chosen: 4 clusters by hour_of_day" in done.stdout
    assert "`hours`" in (project.root / "docs/parameters.md").read_text()


def test_an_objective_is_added(project: Project) -> None:
    follow("An objective", project)
    project.change_params(pretrain={"objective": "triplet", "epochs": 2})
    project.run("dvc", "repro", "pretrain@chosen")
    card = (project.root / "data/encoders/chosen/README.md").read_text()
    assert "Objective `triplet`" in card
    assert "| triplet.margin | 0.3 |" in card


def test_a_source_is_added(project: Project, manifest: Callable[..., Path]) -> None:
    images = manifest(8).parent / "images"
    for number, path in enumerate(sorted(images.iterdir())):
        path.rename(images / f"{('cat', 'dog')[number % 2]}_{number}.png")
    follow("A source", project)
    project.change_params(ingest={"source": "file_names", "path": str(images)})
    project.run("dvc", "repro", "ingest")
    summary = json.loads((project.root / "data/images/summary.json").read_text())
    assert summary["labels"] == ["cat", "dog"]


def test_a_column_of_the_report_is_added(project: Project) -> None:
    follow("A column of the report", project)
    assert project.would_run() == ["report"]
    project.run("dvc", "repro")
    for name in ("report.html", "report.md"):
        assert "Lowest loss" in (project.root / "data/report" / name).read_text()
