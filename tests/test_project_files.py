"""Files that hosts, editors and package managers read: they are valid, and agree with the project."""

import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config.params import Params
from support import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
RENAMED = re.compile(r"^\| (?P<kind>[^|]+) \| `(?P<old>[^|]+)` \| `(?P<new>[^|]+)` \|$", re.MULTILINE)


def read(name: str) -> Any:
    return YAML(typ="safe", pure=True).load(REPOSITORY / name)


def test_the_command_prints_its_version() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"clinfonce {PROJECT['version']}\n")


def test_the_citation_is_complete() -> None:
    """What the Citation File Format 1.2.0 requires, of the software and of each reference."""
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert (citation["cff-version"], citation["type"]) == ("1.2.0", "software")
    assert (citation["title"], citation["version"], citation["license"]) == (
        PROJECT["name"],
        PROJECT["version"],
        PROJECT["license"],
    )
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= reference.keys()
        assert all({"family-names", "given-names"} <= author.keys() for author in reference["authors"])
    assert [reference["url"] for reference in citation["references"]] == [
        "https://arxiv.org/abs/2106.02869",
        "https://arxiv.org/abs/2202.06670",
    ]


def test_the_changelog_has_this_version_below_what_is_unreleased() -> None:
    headings = re.findall(r"^## (.+)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(PROJECT['version'])} - \d{{4}}-\d\d-\d\d", headings[1])


def is_parameter(name: str) -> bool:
    value: Any = Params().model_dump()
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


def test_renamed_things_have_their_new_names() -> None:
    rows = [found.groupdict() for found in RENAMED.finditer((REPOSITORY / "CHANGELOG.md").read_text())]
    kinds = {row["kind"].split()[0] for row in rows}
    assert kinds == {"command", "option", "environment", "parameter", "key"}
    code = "".join(path.read_text() for path in sorted((REPOSITORY / "pipeline").rglob("*.py")))
    for row in rows:
        if row["kind"] == "parameter":
            assert (is_parameter(row["old"]), is_parameter(row["new"])) == (False, True), row
        elif row["kind"] == "command":
            exit_codes = [
                CliRunner().invoke(app, [*name.split()[1:], "--help"]).exit_code
                for name in (row["old"], row["new"])
            ]
            assert exit_codes == [2, 0], row
        else:
            name = row["new"].removeprefix("--").replace("-", "_")
            assert re.search(rf"\b{name}\b", code), row
            if row["kind"] == "environment":
                assert row["old"] not in code, row


def test_the_hooks_run_programs_of_the_environment() -> None:
    """So that their versions are those of pyproject.toml."""
    hooks = [hook for repository in read(".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]]
    assert {hook["id"] for hook in hooks} == {"ruff-check", "ruff-format", "codespell"}
    for hook in hooks:
        uv, run, program, *_ = shlex.split(hook["entry"])
        assert (uv, run) == ("uv", "run")
        assert (Path(sys.executable).parent / program).exists(), program


def test_the_workflow_runs_what_must_pass_for_every_commit() -> None:
    workflow = read(".github/workflows/ci.yml")
    steps = workflow["jobs"]["ci"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert (REPOSITORY / ".ci/run").stat().st_mode & 0o111
    assert workflow["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("form", ["bug.yml", "idea.yml"])
def test_issue_forms_are_valid(form: str) -> None:
    """The keys without which a Git host shows no form."""
    read_form = read(f".github/ISSUE_TEMPLATE/{form}")
    assert {"name", "description", "body"} <= read_form.keys()
    fields = [field for field in read_form["body"] if field["type"] != "markdown"]
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)


def test_importers_get_types() -> None:
    assert (REPOSITORY / "pipeline/py.typed").read_text() == ""


def test_no_two_files_of_tests_have_the_same_name() -> None:
    """Without packages, pytest imports each file under its name alone and refuses the second of two."""
    files = sorted((REPOSITORY / "tests").rglob("test_*.py"))
    names = [file.name for file in files]
    assert [str(file.relative_to(REPOSITORY)) for file in files if names.count(file.name) > 1] == []
